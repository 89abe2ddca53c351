//! A request's head, read rightly.

use std::io;

/// A request's head.
pub(crate) struct Head {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    /// Its own bytes: the body begins behind them.
    pub(crate) bytes: usize,
    /// The body's, where it is declared.
    pub(crate) length: Option<usize>,
    pub(crate) is_chunked: bool,
}

impl Head {
    /// The head that these bytes begin with; `None` while it is not whole.
    pub(crate) fn parse(buffer: &[u8]) -> io::Result<Option<Head>> {
        let mut headers = [httparse::EMPTY_HEADER; 256];
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(buffer).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let httparse::Status::Complete(bytes) = parsed else { return Ok(None) };
        let pair = |header: &httparse::Header<'_>| {
            (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned())
        };
        let mut head = Head {
            method: request.method.unwrap_or_default().to_owned(),
            target: request.path.unwrap_or_default().to_owned(),
            headers: request.headers.iter().map(pair).collect(),
            bytes,
            length: None,
            is_chunked: false,
        };
        head.length = head.header("content-length").and_then(|value| value.parse().ok());
        head.is_chunked = head.header("transfer-encoding").is_some();
        Ok(Some(head))
    }

    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}
