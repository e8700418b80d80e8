"""What an audit found, as a document: gathered once, then written as a page, as text or as data."""
