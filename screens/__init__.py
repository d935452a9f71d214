"""What an operator looks at: a module per screen, dialogs and widgets beside. Installed as ``vgpu_console.screens``."""
