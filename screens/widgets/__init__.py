"""Widgets of the screens. All of them draw Segments and Content, never markup."""
