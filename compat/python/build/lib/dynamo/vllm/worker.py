"""python -m dynamo.vllm.worker"""
from dynamo.launcher import launch

if __name__ == "__main__":
    launch("dynamo.vllm.worker", "worker")
