"""What is looked for in a data set before anything is trained on it."""
