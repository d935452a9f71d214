"""Why a server has no vGPU, a flavor finds no host, a project cannot start one, a host gets none: chains of reasons."""
