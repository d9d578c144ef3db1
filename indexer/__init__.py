"""From files on disk to vectors that can be searched. Knows no model by name and never imports mmsearch."""
