//! The only writer to standard output and standard error.
//!
//! Colours are kept on a terminal and taken out elsewhere. A reader that has gone away (`| head`) is no error: the rest
//! of what we had to say is not wanted.

use std::io::{self, ErrorKind, Write};

/// Writes to standard output.
pub(crate) fn print(text: &str) -> io::Result<()> {
    write(anstream::stdout().lock(), text)
}

/// Writes a line to standard error. There is nowhere to report that this went wrong.
pub(crate) fn complain(line: &str) {
    let _ = write(anstream::stderr().lock(), &format!("{}\n", line.trim_end()));
}

fn write(mut to: impl Write, text: &str) -> io::Result<()> {
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Standard output for what writes piece by piece.
pub(crate) struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        print(&String::from_utf8_lossy(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
