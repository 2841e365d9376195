"""What the notebooks use beside the models: plots, exercises, checks of gradients."""
