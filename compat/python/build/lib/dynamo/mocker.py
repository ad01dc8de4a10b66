"""python -m dynamo.mocker"""
from dynamo.launcher import launch

if __name__ == "__main__":
    launch("dynamo.mocker", "mocker")
