//! Decompression: reads what is compressed by the format its first bytes name. Knows gzip and
//! Zstandard; does not know what is inside.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Formats that are told by name, since they are refused.
const OTHERS: [(&[u8], &str); 2] = [(b"BZh", "bzip2"), (b"\xfd7zXZ\0", "xz")];

/// Returns the bytes inside `reader`, or its own if it is not compressed.
///
/// # Errors
/// What the reader says; [`io::ErrorKind::Unsupported`] for another compression.
pub(super) fn unzipped<'a>(reader: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut reader = BufReader::with_capacity(128 << 10, reader);
    let start = reader.fill_buf()?;
    if let Some((_, name)) = OTHERS.iter().find(|(magic, _)| start.starts_with(magic)) {
        let message = format!("it is compressed by {name}; gzip, zstd or none at all can be read");
        return Err(io::Error::new(io::ErrorKind::Unsupported, message));
    }
    Ok(match start {
        start if start.starts_with(GZIP) => Box::new(MultiGzDecoder::new(reader)),
        start if start.starts_with(ZSTD) => Box::new(Frames(Some(Frame::Next(reader)))),
        _ => Box::new(reader),
    })
}

/// Zstandard frames one behind the other, read as one.
struct Frames<R: BufRead>(Option<Frame<R>>);

enum Frame<R: BufRead> {
    Open(Box<StreamingDecoder<R, ruzstd::decoding::FrameDecoder>>),
    Next(R),
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(frame) = self.0.take() {
            match frame {
                Frame::Next(mut reader) => {
                    if reader.fill_buf()?.is_empty() {
                        return Ok(0);
                    }
                    let decoder = StreamingDecoder::new(reader).map_err(io::Error::other)?;
                    self.0 = Some(Frame::Open(Box::new(decoder)));
                }
                Frame::Open(mut decoder) => {
                    let count = decoder.read(buffer)?;
                    self.0 = Some(match count {
                        0 if !buffer.is_empty() => Frame::Next(decoder.into_inner()),
                        _ => Frame::Open(decoder),
                    });
                    if count > 0 || buffer.is_empty() {
                        return Ok(count);
                    }
                }
            }
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        unzipped(bytes)?.read_to_end(&mut text)?;
        Ok(text)
    }

    #[test]
    fn each_format_is_told_by_its_first_bytes() {
        let text = "hello ".repeat(10_000).into_bytes();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        let gzip = gzip.finish().unwrap();
        let level = ruzstd::encoding::CompressionLevel::Fastest;
        let zstd = ruzstd::encoding::compress_to_vec(&text[..], level);
        assert_eq!(read(&text).unwrap(), text);
        assert_eq!(read(&gzip).unwrap(), text);
        assert_eq!(read(&zstd).unwrap(), text);
        assert_eq!(read(&[gzip.clone(), gzip.clone()].concat()).unwrap().len(), 2 * text.len());
        assert_eq!(read(&[zstd.clone(), zstd.clone()].concat()).unwrap().len(), 2 * text.len());
        assert!(read(&gzip[..gzip.len() / 2]).is_err() && read(&zstd[..zstd.len() / 2]).is_err());
        assert!(read(b"BZh91AY").unwrap_err().to_string().contains("compressed by bzip2"));
        assert_eq!(read(b"").unwrap(), b"");
    }
}
