//! The key store: secret keys and the white list, in one folder that only its owner can read.
//!
//! Invariant: a secret key lies in a file of mode 0600 in a folder of mode 0700 or is not used; files appear whole or
//! not at all (temporary file, fsync, rename, fsync of the folder); who is not on the white list is nobody.

use super::roles::Roles;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Name of the broker's own key.
pub const SERVER: &str = "server";

/// Name of the key that `nikola ctl` uses; paired when the store is made.
pub const CLI: &str = "cli";

const WHITELIST: &str = "whitelist.txt";

/// Longest name of a key.
const NAME_BYTES_MAX: usize = 64;

/// Most keys on a white list.
pub const KEYS_MAX: usize = 1024;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file or folder cannot be read or written.
    #[error("{path}: {reason}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// Others can read it.
    #[error(
        "{path} has mode {found:04o}; expected {expected:04o}, because others could read secret keys\n  remedy: chmod \
         {expected:o} {path}",
        path = path.display()
    )]
    Mode {
        /// Which.
        path: PathBuf,
        /// Its mode.
        found: u32,
        /// The mode it must have.
        expected: u32,
    },
    /// A key file does not hold a key pair.
    #[error(
        "{path}: {reason}; expected the lines `public <40 characters>` and `secret <40 characters>` in Z85\n  remedy: \
         move the file away; a new key is made, and must be paired again",
        path = path.display()
    )]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A name that cannot be a file name.
    #[error("{found:?} is no name for a key; expected 1 to 64 letters, digits, - and _")]
    Name {
        /// The name.
        found: String,
    },
    /// The white list is full.
    #[error("the white list holds {KEYS_MAX} keys already; remove some lines of {path}", path = path.display())]
    Full {
        /// The white list.
        path: PathBuf,
    },
}

/// A CURVE key pair in Z85.
#[derive(Clone)]
pub struct KeyPair {
    /// Public part: who one is.
    pub public: String,
    /// Secret part.
    pub secret: String,
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyPair({})", self.public)
    }
}

impl KeyPair {
    /// A new pair.
    pub fn generate() -> Self {
        let pair = zmq::CurveKeyPair::new().expect("libzmq has CURVE, checked at start");
        let text = |key: [u8; 32]| zmq::z85_encode(&key).expect("32 bytes are a multiple of four");
        Self { public: text(pair.public_key), secret: text(pair.secret_key) }
    }
}

/// Whether a text is a public key in Z85.
pub fn is_public_key(text: &str) -> bool {
    text.len() == 40 && zmq::z85_decode(text).is_ok_and(|bytes| bytes.len() == 32)
}

/// Whether a text can name a key.
pub fn is_name(text: &str) -> bool {
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain)
}

/// One line of the white list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Name.
    pub name: String,
    /// What it may do.
    pub roles: Roles,
}

/// Who is admitted, by public key, as the file said when it was last read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whitelist {
    /// By public key.
    pub peers: HashMap<String, Arc<Peer>>,
    /// Lines that say nothing understandable, with the reason; nobody is admitted by them.
    pub bad_lines: Vec<String>,
}

impl Whitelist {
    /// Reads `name  Z85-key  [roles]` lines; `#` begins a comment line.
    pub fn parse(text: &str) -> Self {
        let mut list = Self::default();
        for (i, line) in text.lines().enumerate() {
            let words: Vec<_> = line.split_whitespace().collect();
            // A Z85 key may contain `#`, so only whole lines are comments.
            if words.is_empty() || words[0].starts_with('#') {
                continue;
            }
            let mut bad = |reason: String| list.bad_lines.push(format!("line {}: {reason}", i + 1));
            match (words.as_slice(), Roles::parse(&words[2.min(words.len())..].join(","))) {
                ([name, ..], _) if !is_name(name) => {
                    bad(KeyError::Name { found: (*name).into() }.to_string())
                }
                ([_, key, ..], _) if !is_public_key(key) => {
                    bad("expected a public key of 40 Z85 characters".into())
                }
                ([_], _) => bad("expected `name  key  [roles]`".into()),
                (_, Err(error)) => bad(error.to_string()),
                (_, Ok(_)) if list.peers.len() == KEYS_MAX => bad(format!("more than {KEYS_MAX} keys")),
                (words, Ok(roles)) => {
                    let peer = Arc::new(Peer { name: words[0].to_string(), roles });
                    list.peers.insert(words[1].to_string(), peer);
                }
            }
        }
        list
    }
}

/// The folder.
#[derive(Debug, Clone)]
pub struct KeyStore {
    folder: PathBuf,
}

impl KeyStore {
    /// Opens the store, making it when it does not exist.
    ///
    /// # Errors
    /// [`KeyError::Mode`] when others could read it.
    pub fn open(folder: &Path) -> Result<Self, KeyError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(folder).map_err(|reason| KeyError::File { path: folder.into(), reason })?;
        check_mode(folder, 0o700)?;
        Ok(Self { folder: folder.to_path_buf() })
    }

    /// The broker's store: its key and the command line's exist afterwards, the latter as `admin`.
    ///
    /// # Errors
    /// [`KeyError`] when a key cannot be read, made or kept.
    pub fn open_with_keys(folder: &Path) -> Result<(Self, KeyPair), KeyError> {
        let store = Self::open(folder)?;
        let server = store.key(SERVER)?;
        let cli = store.key(CLI)?;
        if !store.whitelist_path().exists() {
            let text = format!(
                "# Who may connect: name, public key, roles (observe, component, inject, operate, admin).\n\
                 # Read again whenever it changes; `nikola pair --open` adds lines.\n{CLI}  {}  admin\n",
                cli.public
            );
            write_durably(&store.whitelist_path(), text.as_bytes())?;
        }
        Ok((store, server))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the white list is.
    pub fn whitelist_path(&self) -> PathBuf {
        self.folder.join(WHITELIST)
    }

    /// The key pair of that name, made at the first call.
    ///
    /// # Errors
    /// [`KeyError`]; a key file that others can read, or that holds something else, is never replaced.
    pub fn key(&self, name: &str) -> Result<KeyPair, KeyError> {
        if !is_name(name) {
            return Err(KeyError::Name { found: name.into() });
        }
        let path = self.folder.join(format!("{name}.key"));
        match fs::read_to_string(&path) {
            Ok(text) => {
                check_mode(&path, 0o600)?;
                parse_key(&path, &text)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let pair = KeyPair::generate();
                let text = format!("public {}\nsecret {}\n", pair.public, pair.secret);
                write_durably(&path, text.as_bytes())?;
                Ok(pair)
            }
            Err(reason) => Err(KeyError::File { path, reason }),
        }
    }

    /// Names of the key pairs in the store, sorted.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn names(&self) -> Result<Vec<String>, KeyError> {
        let failed = |reason| KeyError::File { path: self.folder.clone(), reason };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            names.extend(name.to_string_lossy().strip_suffix(".key").map(String::from));
        }
        names.sort();
        Ok(names)
    }

    /// Who is admitted now; nobody without a file.
    ///
    /// # Errors
    /// When the file is there but cannot be read.
    pub fn whitelist(&self) -> Result<Whitelist, KeyError> {
        let path = self.whitelist_path();
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Whitelist::parse(&text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Whitelist::default()),
            Err(reason) => Err(KeyError::File { path, reason }),
        }
    }

    /// What changes when the white list does: modification time, length and file number.
    pub fn whitelist_stamp(&self) -> Option<(i64, i64, u64, u64)> {
        let metadata = fs::metadata(self.whitelist_path()).ok()?;
        Some((metadata.mtime(), metadata.mtime_nsec(), metadata.len(), metadata.ino()))
    }

    /// Adds or replaces the line of `name`, keeping every other line as it is.
    ///
    /// # Errors
    /// [`KeyError`]; the list is unchanged then.
    pub fn admit(&self, name: &str, public_key: &str, roles: &Roles) -> Result<(), KeyError> {
        let line = format!("{name}  {public_key}  {roles}");
        self.rewrite(name, Some(line))
    }

    /// Removes the line of `name`; says whether there was one.
    ///
    /// # Errors
    /// [`KeyError`]; the list is unchanged then.
    pub fn revoke(&self, name: &str) -> Result<bool, KeyError> {
        let was_there = self.whitelist()?.peers.values().any(|peer| peer.name == name);
        if was_there {
            self.rewrite(name, None)?;
        }
        Ok(was_there)
    }

    fn rewrite(&self, name: &str, line: Option<String>) -> Result<(), KeyError> {
        if !is_name(name) {
            return Err(KeyError::Name { found: name.into() });
        }
        let path = self.whitelist_path();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(reason) => return Err(KeyError::File { path, reason }),
        };
        let others = text.lines().filter(|line| line.split_whitespace().next() != Some(name));
        let lines: Vec<_> = others.map(String::from).chain(line).collect();
        if Whitelist::parse(&lines.join("\n")).peers.len() > KEYS_MAX {
            return Err(KeyError::Full { path });
        }
        write_durably(&path, (lines.join("\n") + "\n").as_bytes())
    }
}

fn check_mode(path: &Path, expected: u32) -> Result<(), KeyError> {
    let metadata = fs::metadata(path).map_err(|reason| KeyError::File { path: path.into(), reason })?;
    let found = metadata.permissions().mode() & 0o777;
    // Stricter is fine.
    if found & !expected == 0 { Ok(()) } else { Err(KeyError::Mode { path: path.into(), found, expected }) }
}

fn parse_key(path: &Path, text: &str) -> Result<KeyPair, KeyError> {
    let content = |reason: &str| KeyError::Content { path: path.into(), reason: reason.into() };
    let part = |word: &str| {
        let key = text.lines().find_map(|line| line.strip_prefix(word)).map(str::trim);
        key.filter(|key| is_public_key(key)).map(String::from)
    };
    let public = part("public ").ok_or_else(|| content("no public key"))?;
    let secret = part("secret ").ok_or_else(|| content("no secret key"))?;
    Ok(KeyPair { public, secret })
}

/// Replaces a file so that after a crash it is the old one or the new one; mode 0600.
///
/// # Errors
/// [`KeyError::File`]; the old file is unchanged then.
pub fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let write = || {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|reason| KeyError::File { path: path.into(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("nikola-keys-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn keys_survive_and_lie_in_private_files() {
        let folder = Folder::new("survive");
        let (store, server) = KeyStore::open_with_keys(&folder.0).expect("a store");
        let (_, again) = KeyStore::open_with_keys(&folder.0).expect("the same store");
        assert_eq!((&server.public, &server.secret), (&again.public, &again.secret));
        assert_eq!(fs::metadata(store.folder().join("server.key")).expect("a file").mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(store.folder()).expect("a folder").mode() & 0o777, 0o700);
        let list = store.whitelist().expect("a list");
        assert_eq!(list.peers[&store.key(CLI).expect("a key").public].roles.to_string(), "observe,admin");
        assert_eq!(store.names().expect("names"), ["cli", "server"]);
    }

    #[test]
    fn a_wrong_mode_is_an_error_that_names_the_remedy() {
        let folder = Folder::new("mode");
        let (store, _) = KeyStore::open_with_keys(&folder.0).expect("a store");
        let path = store.folder().join("server.key");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
        let error = store.key(SERVER).expect_err("readable by others").to_string();
        assert!(
            error.contains("0644") && error.contains(&format!("chmod 600 {}", path.display())),
            "{error}"
        );
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).expect("chmod");
        let error = KeyStore::open(&folder.0).expect_err("listable by others").to_string();
        assert!(error.contains("chmod 700"), "{error}");
    }

    #[test]
    fn a_damaged_key_is_not_replaced() {
        let folder = Folder::new("damaged");
        let (store, _) = KeyStore::open_with_keys(&folder.0).expect("a store");
        write_durably(&store.folder().join("server.key"), b"public oops\n").expect("written");
        assert!(matches!(store.key(SERVER), Err(KeyError::Content { .. })));
        assert!(matches!(store.key("../server"), Err(KeyError::Name { .. })));
    }

    #[test]
    fn lines_that_cannot_be_read_admit_nobody() {
        let key = KeyPair::generate().public;
        let text = format!("# comment\n\na {key}\nb short observe\nc\n../d {key}\ne {key} king\n");
        let list = Whitelist::parse(&text);
        assert_eq!(list.peers.len(), 1);
        assert_eq!(list.peers[&key].name, "a");
        assert_eq!(list.bad_lines.len(), 4, "{:?}", list.bad_lines);
    }

    #[test]
    fn admitting_and_revoking_keep_other_lines() {
        let folder = Folder::new("admit");
        let (store, _) = KeyStore::open_with_keys(&folder.0).expect("a store");
        let before = fs::read_to_string(store.whitelist_path()).expect("a list");
        let pair = KeyPair::generate();
        store.admit("python", &pair.public, &Roles::parse("inject").expect("a role")).expect("admitted");
        assert_eq!(
            store.whitelist().expect("a list").peers[&pair.public].roles.to_string(),
            "observe,inject"
        );
        assert!(store.revoke("python").expect("revoked"));
        assert!(!store.revoke("python").expect("nothing to revoke"));
        assert_eq!(fs::read_to_string(store.whitelist_path()).expect("a list"), before);
    }
}
