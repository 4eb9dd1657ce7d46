"""What others have written, beside us: native code, event loops, greenlets, imports."""
