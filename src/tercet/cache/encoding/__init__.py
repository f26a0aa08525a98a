"""What a call, a tag and a value look like outside of Python: keys, tags, codecs, frames."""
