"""``peer web``: a page that shows what is going on, for one person on this machine. It changes nothing."""
