"""The engine: the training loop and its stations. It knows tricks, models and tasks only by their protocols."""
