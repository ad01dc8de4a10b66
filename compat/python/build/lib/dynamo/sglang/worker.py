"""python -m dynamo.sglang.worker"""
from dynamo.launcher import launch

if __name__ == "__main__":
    launch("dynamo.sglang.worker", "worker")
