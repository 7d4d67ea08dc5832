"""What a trained model knows and gets wrong, as numbers and small pictures for a page."""
