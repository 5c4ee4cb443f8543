"""For pyflakes: a module that nobody uses."""
import os
