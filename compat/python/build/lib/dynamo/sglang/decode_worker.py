"""python -m dynamo.sglang.decode_worker"""
from dynamo.launcher import launch

if __name__ == "__main__":
    launch("dynamo.sglang.decode_worker", "decode-worker")
