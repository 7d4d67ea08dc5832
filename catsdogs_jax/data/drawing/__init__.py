"""How animals are drawn: a pen, species and poses, an animal, and the scene around it."""
