"""What the package promises, concept by concept."""
