"""What every room uses: see `allowed`."""

LINES = """
refusing sentence: text
save_npz path: text
save_npz kind: text
save_npz format_version: zero minus
ensure_writable_folder path: text
write_atomically path: text
write_bytes_atomically path: text
write_text_atomically path: text
write_text_atomically text: text
optional_package extra: text
"""
OTHER_NAMES = """
load_npz path: file
load_npz kind: holds
load_npz format_version: format
ensure_writable_folder path: folder
optional_package name: package
"""
