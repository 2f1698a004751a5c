"""How sides are measured against each other, whatever they are."""
