"""Any number of pictures through a trained model: in order, in bounded memory, to a table."""
