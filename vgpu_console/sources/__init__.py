"""One module per real system; each turns that system's answers into model facts. Text passes plain() here."""
