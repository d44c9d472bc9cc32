"""Images: root file systems imported from tarballs, extracted once, shared by every container on them."""

from .library import Image, Images

__all__ = ["Image", "Images"]
