"""The book's own pre-trained parts; ``python -m mmbook.weights`` makes them again."""
