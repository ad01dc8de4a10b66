"""python -m dynamo.sglang"""
from dynamo.launcher import launch

if __name__ == "__main__":
    launch("dynamo.sglang", "worker")
