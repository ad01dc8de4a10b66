"""Front doors of the dynamo program: see dynamo.launcher."""
