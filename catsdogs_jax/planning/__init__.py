"""What a run will need and cost, from its compiled steps, before it begins."""
