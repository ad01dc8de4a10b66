"""python -m dynamo.frontend"""
from dynamo.launcher import launch

if __name__ == "__main__":
    launch("dynamo.frontend", "frontend")
