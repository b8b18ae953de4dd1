//! Image layouts: finds the layers of the image for a platform. Knows the OCI image layout and what
//! `docker save` writes, as a folder or in one archive; believes no blob that its name does not fit.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ImageError;
use super::rootfs::{self, RootFs};
use crate::cache::{Store, Tree};
use crate::digest::{Digest, Hasher};

/// The most bytes of an index or manifest.
const MAX_JSON_BYTES: u64 = 4 << 20;

/// How many indexes may stand in one another.
const MAX_INDEXES: usize = 4;

/// The most layers of an image.
const MAX_LAYERS: usize = 512;

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Clone, Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(rename = "mediaType", default)]
    media_type: String,
    platform: Option<Platform>,
}

#[derive(Clone, Deserialize)]
struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
}

#[derive(Deserialize)]
struct Manifest {
    layers: Vec<Descriptor>,
}

/// An image in what `docker save` writes.
#[derive(Deserialize)]
struct Saved {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "Layers")]
    layers: Vec<String>,
}

/// What the configuration of an image says of its layers.
#[derive(Deserialize)]
struct Config {
    rootfs: DiffIds,
}

#[derive(Deserialize)]
struct DiffIds {
    /// The digests of the layers as they are, uncompressed.
    diff_ids: Vec<String>,
}

/// Takes the image for `platform`, `os/arch`, out of the layout at `path`, a folder or an archive,
/// into the store; messages call the layout `called`.
///
/// # Errors
/// [`ImageError`].
pub(crate) fn read(
    store: &Store,
    path: &Path,
    called: &Path,
    platform: &str,
) -> Result<Tree, ImageError> {
    if path.is_dir() {
        return Layout { path: called, root: path.to_owned() }.tree(store, platform);
    }
    let archive = rootfs::read(store, path, called)?;
    let folder = store.materialise(&archive)?;
    Layout { path: called, root: folder.path().to_owned() }.tree(store, platform)
}

struct Layout<'a> {
    /// What messages call it.
    path: &'a Path,
    /// Its folder.
    root: PathBuf,
}

impl Layout<'_> {
    fn tree(&self, store: &Store, platform: &str) -> Result<Tree, ImageError> {
        let mut root = RootFs::default();
        if self.root.join("index.json").is_file() {
            let index = self.json(Path::new("index.json"), None)?;
            let manifest: Manifest = self.manifest(index, platform, 0)?;
            self.few(manifest.layers.len())?;
            for layer in manifest.layers {
                let (digest, path) = self.blob(&layer.digest)?;
                self.layer(store, &mut root, &path, digest)?;
            }
        } else if self.root.join("manifest.json").is_file() {
            let saved: Vec<Saved> = self.json(Path::new("manifest.json"), None)?;
            let [image] = &saved[..] else {
                let what = format!("holds {} images, and not one", saved.len());
                return Err(ImageError::malformed(self.path, what));
            };
            self.few(image.layers.len())?;
            let config: Config = self.json(self.inner(&image.config)?, None)?;
            let ids = config.rootfs.diff_ids;
            if ids.len() != image.layers.len() {
                let what = "names other layers than its configuration does";
                return Err(ImageError::malformed(self.path, what));
            }
            for (layer, id) in image.layers.iter().zip(&ids) {
                let (path, (digest, _)) = (self.inner(layer)?, self.blob(id)?);
                self.layer(store, &mut root, path, digest)?;
            }
        } else {
            let what = "is no image layout: it has neither `index.json` nor `manifest.json`";
            return Err(ImageError::malformed(self.path, what));
        }
        root.into_tree()
    }

    /// Lays a layer over what is there, and compares its digest.
    fn layer(
        &self,
        store: &Store,
        root: &mut RootFs,
        path: &Path,
        digest: Digest,
    ) -> Result<(), ImageError> {
        let mut reader = Checked::new(self.open(path)?);
        root.add(store, &mut reader, &self.path.join(path), true)?;
        reader.finish(digest).map_err(|source| self.failed(path, source))
    }

    /// Returns a path that a manifest names, which must stay inside.
    fn inner<'p>(&self, path: &'p str) -> Result<&'p Path, ImageError> {
        let is_plain = |part| matches!(part, std::path::Component::Normal(_));
        match Path::new(path).components().all(is_plain) {
            true => Ok(Path::new(path)),
            false => {
                let what = format!("names a file `{path}`, which leaves it");
                Err(ImageError::malformed(self.path, what))
            }
        }
    }

    fn few(&self, layers: usize) -> Result<(), ImageError> {
        match layers {
            0..=MAX_LAYERS => Ok(()),
            more => Err(ImageError::malformed(self.path, format!("has an image of {more} layers"))),
        }
    }

    /// Returns the manifest of the image for a platform.
    fn manifest(&self, index: Index, platform: &str, depth: usize) -> Result<Manifest, ImageError> {
        let fits = |found: &Platform| {
            let os = if found.os == "darwin" { "macos" } else { &found.os };
            platform == format!("{os}/{}", found.architecture)
        };
        let chosen = match &index.manifests[..] {
            [only] if only.platform.as_ref().is_none_or(fits) => Some(only.clone()),
            all => all.iter().find(|one| one.platform.as_ref().is_some_and(fits)).cloned(),
        };
        let Some(chosen) = chosen else {
            let names = index.manifests.iter().filter_map(|one| one.platform.as_ref());
            let names = names.take(8).map(|own| format!("{}/{}", own.os, own.architecture));
            let names: Vec<_> = names.collect();
            let has = match &names[..] {
                [] => "its images name no platform".to_owned(),
                names => format!("it has images for {}", names.join(", ")),
            };
            let what = format!("has no image for {platform}: {has}");
            return Err(ImageError::malformed(self.path, what));
        };
        let (digest, path) = self.blob(&chosen.digest)?;
        if !chosen.media_type.contains("index") && !chosen.media_type.contains("manifest.list") {
            return self.json(&path, Some(digest));
        }
        if depth == MAX_INDEXES {
            return Err(ImageError::malformed(self.path, "has indexes too deep in one another"));
        }
        let inner: Index = self.json(&path, Some(digest))?;
        self.manifest(inner, platform, depth + 1)
    }

    /// Returns the digest that a name stands for, and the path of its blob.
    fn blob(&self, name: &str) -> Result<(Digest, PathBuf), ImageError> {
        let digest = name.strip_prefix("sha256:").and_then(|hex| hex.parse::<Digest>().ok());
        match digest {
            Some(digest) => Ok((digest, Path::new("blobs/sha256").join(digest.to_hex()))),
            None => {
                let what = format!("names a blob `{name}`, which is no sha256 digest");
                Err(ImageError::malformed(self.path, what))
            }
        }
    }

    fn open(&self, path: &Path) -> Result<File, ImageError> {
        File::open(self.root.join(path)).map_err(|source| self.failed(path, source))
    }

    fn failed(&self, path: &Path, source: io::Error) -> ImageError {
        ImageError::Read { path: self.path.join(path), source }
    }

    fn json<T: for<'a> Deserialize<'a>>(
        &self,
        path: &Path,
        digest: Option<Digest>,
    ) -> Result<T, ImageError> {
        let mut bytes = Vec::new();
        let mut reader = self.open(path)?.take(MAX_JSON_BYTES + 1);
        reader.read_to_end(&mut bytes).map_err(|source| self.failed(path, source))?;
        let place = self.path.join(path);
        if bytes.len() as u64 > MAX_JSON_BYTES {
            return Err(ImageError::malformed(&place, "is larger than 4 MiB"));
        }
        if digest.is_some_and(|digest| Digest::of(&bytes) != digest) {
            return Err(ImageError::malformed(&place, "is not what its name says"));
        }
        serde_json::from_slice(&bytes).map_err(|error| {
            ImageError::malformed(&place, format!("cannot be understood: {error}"))
        })
    }
}

/// A reader that finds out the digest of all that was read.
struct Checked<R> {
    reader: R,
    hasher: Hasher,
}

impl<R: Read> Checked<R> {
    fn new(reader: R) -> Self {
        Self { reader, hasher: Hasher::new() }
    }

    /// Reads the rest and compares.
    fn finish(mut self, digest: Digest) -> io::Result<()> {
        io::copy(&mut self, &mut io::sink())?;
        match self.hasher.finish() == digest {
            true => Ok(()),
            false => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "it is not what its name says"))
            }
        }
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    fn layer(path: &str, text: &str) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, text.as_bytes()).unwrap();
        builder.into_inner().unwrap()
    }

    fn put(root: &Path, bytes: &[u8]) -> String {
        let digest = Digest::of(bytes).to_hex();
        fs::create_dir_all(root.join("blobs/sha256")).unwrap();
        fs::write(root.join("blobs/sha256").join(&digest), bytes).unwrap();
        format!("sha256:{digest}")
    }

    /// Writes a layout with an image for each platform, whose one layer holds its name.
    fn layout(root: &Path, platforms: &[&str]) {
        let manifests: Vec<_> = platforms
            .iter()
            .map(|platform| {
                let layer = put(root, &layer("etc/platform", platform));
                let manifest = json!({ "layers": [{ "digest": layer }] }).to_string();
                let (os, architecture) = platform.split_once('/').unwrap();
                json!({
                    "digest": put(root, manifest.as_bytes()),
                    "platform": { "os": os, "architecture": architecture },
                })
            })
            .collect();
        fs::write(root.join("index.json"), json!({ "manifests": manifests }).to_string()).unwrap();
    }

    fn found(store: &Store, path: &Path, platform: &str) -> Result<String, String> {
        let tree = read(store, path, path, platform).map_err(|error| error.to_string())?;
        match tree.get("etc/platform") {
            Some(crate::cache::Node::File { blob, .. }) => {
                Ok(String::from_utf8(store.read(*blob).unwrap()).unwrap())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_image_of_the_platform_is_taken_as_a_folder_and_out_of_an_archive() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let root = folder.path().join("image");
        layout(&root, &["linux/amd64", "linux/arm64"]);
        let archive = folder.path().join("image.tar");
        let mut builder = tar::Builder::new(fs::File::create(&archive).unwrap());
        builder.append_dir_all(".", &root).unwrap();
        builder.finish().unwrap();
        for path in [&root, &archive] {
            assert_eq!(found(&store, path, "linux/arm64").unwrap(), "linux/arm64");
            let error = found(&store, path, "macos/arm64").unwrap_err();
            assert!(error.contains("it has images for linux/amd64, linux/arm64"), "{error}");
        }
    }

    #[test]
    fn an_index_may_stand_in_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let root = folder.path().join("image");
        layout(&root, &["linux/amd64"]);
        let media = "application/vnd.oci.image.index.v1+json";
        for depth in 0..=MAX_INDEXES + 1 {
            let result = found(&store, &root, "linux/amd64");
            assert_eq!(result.is_ok(), depth <= MAX_INDEXES, "{depth}: {result:?}");
            let inner = put(&root, &fs::read(root.join("index.json")).unwrap());
            let outer = json!({ "manifests": [{ "digest": inner, "mediaType": media }] });
            fs::write(root.join("index.json"), outer.to_string()).unwrap();
        }
    }

    #[test]
    fn what_docker_saves_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let root = folder.path().join("image");
        fs::create_dir_all(root.join("one")).unwrap();
        let bytes = layer("etc/platform", "saved");
        fs::write(root.join("one/layer.tar"), &bytes).unwrap();
        let ids = |ids: serde_json::Value| {
            let config = json!({ "rootfs": { "diff_ids": ids } }).to_string();
            fs::write(root.join("config.json"), config).unwrap();
        };
        let id = format!("sha256:{}", Digest::of(&bytes).to_hex());
        ids(json!([id]));
        let write = |json: serde_json::Value| {
            fs::write(root.join("manifest.json"), json.to_string()).unwrap();
        };
        write(json!([{ "Config": "config.json", "Layers": ["one/layer.tar"] }]));
        assert_eq!(found(&store, &root, "linux/amd64").unwrap(), "saved");
        ids(json!([]));
        assert!(found(&store, &root, "linux/amd64").unwrap_err().contains("names other layers"));
        ids(json!([format!("sha256:{}", Digest::of(b"other").to_hex())]));
        assert!(
            found(&store, &root, "linux/amd64").unwrap_err().contains("not what its name says")
        );
        ids(json!([id]));
        write(json!([{ "Config": "config.json", "Layers": ["../image/one/layer.tar"] }]));
        assert!(found(&store, &root, "linux/amd64").unwrap_err().contains("which leaves it"));
        write(json!([{ "Config": "", "Layers": [] }, { "Config": "", "Layers": [] }]));
        assert!(found(&store, &root, "linux/amd64").unwrap_err().contains("holds 2 images"));
    }

    #[test]
    fn a_blob_that_is_not_what_its_name_says_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let root = folder.path().join("image");
        layout(&root, &["linux/amd64"]);
        for blob in fs::read_dir(root.join("blobs/sha256")).unwrap() {
            let path = blob.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            let mut other = bytes.clone();
            let at = other.iter().rposition(|byte| byte.is_ascii_alphanumeric()).unwrap();
            other[at] ^= 1;
            fs::write(&path, other).unwrap();
            let error = found(&store, &root, "linux/amd64").unwrap_err();
            assert!(error.contains("not what its name says"), "{error}");
            fs::write(&path, bytes).unwrap();
        }
        fs::remove_file(root.join("index.json")).unwrap();
        assert!(found(&store, &root, "linux/amd64").unwrap_err().contains("is no image layout"));
    }
}
