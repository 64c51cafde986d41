"""How far people agree, and how sure that is."""
