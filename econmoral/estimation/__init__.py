"""From choices to parameters with errors, and how many choices it takes."""
