//! Lines on standard output, of commands that say something and end.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// Prints a line as `println!` does. Whoever reads it may have gone (`… | head`): then there is nobody to say anything
/// to, and the process ends as one that has said all.
macro_rules! say {
    ($($words:tt)*) => { $crate::output::line(format_args!($($words)*)) };
}
pub(crate) use say;

pub(crate) fn line(words: Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{words}").and_then(|()| out.flush()) {
        if error.kind() == ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        eprintln!("sallyport: cannot write to standard output: {error}");
        std::process::exit(1);
    }
}
