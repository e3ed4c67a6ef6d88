//! The only writer of files: whole or not at all, and never through a link.
//!
//! A text is written beside its place and renamed, so that neither a crash nor a full disk leaves half a file. Renaming replaces a link
//! that somebody puts in the way, and never what it points to.

use std::fs::{self, Metadata, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use tempfile::{Builder, NamedTempFile};

use super::output::visible;

/// Of a new file, before the umask.
const NEW: u32 = 0o666;

/// A path as it is printed. Names may be anything but NUL, also control characters and bytes that are not UTF-8.
pub(crate) fn shown(path: &Path) -> String {
    visible(&path.display().to_string())
}

/// The regular file at a path, without following links; `None` where there is nothing. Anything else is an error: it is not for us to
/// write through a link or into a device.
pub(crate) fn regular(path: &Path) -> Result<Option<Metadata>> {
    let name = shown(path);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {name}")),
        Ok(found) if found.is_symlink() => {
            let target = fs::read_link(path).map_or_else(|_| "?".to_owned(), |it| shown(&it));
            bail!(
                "{name} is a symbolic link to {target}, and links are not followed for writing; name the file itself"
            )
        }
        Ok(found) if !found.is_file() => bail!("{name} is not a regular file; name another one"),
        Ok(found) => Ok(Some(found)),
    }
}

/// Writes texts to files. Nothing is replaced before all texts are on the disk.
pub(crate) fn write_all(files: &[(&Path, &str)]) -> Result<()> {
    let mut staged = Vec::new();
    for (path, text) in files {
        let temporary =
            stage(path, text).with_context(|| format!("cannot write {}", shown(path)))?;
        staged.push((temporary, path));
    }
    for (temporary, path) in staged {
        let renamed = temporary.persist(path).map_err(|error| error.error);
        renamed.with_context(|| format!("cannot write {}", shown(path)))?;
    }
    Ok(())
}

/// A text on the disk, beside its place, with the owner and permissions of the file that it replaces.
fn stage(path: &Path, text: &str) -> Result<NamedTempFile> {
    let replaced = regular(path)?;
    if replaced
        .as_ref()
        .is_some_and(|it| it.permissions().readonly())
    {
        bail!("the file is read-only; allow writing with chmod u+w");
    }
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    // A name that no tool takes for a manifest, should we be killed before it is renamed.
    let mut temporary = Builder::new()
        .prefix(".identity-mapper-")
        .permissions(Permissions::from_mode(NEW))
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    temporary.write_all(text.as_bytes())?;
    if let Some(replaced) = replaced {
        let made = temporary.as_file().metadata()?;
        let owner = |it: &Metadata| (it.uid(), it.gid());
        if owner(&made) != owner(&replaced) {
            // Only root may give files away; for others the file becomes the writer's, as with every editor.
            let _ = chown(temporary.path(), Some(replaced.uid()), Some(replaced.gid()));
        }
        temporary
            .as_file()
            .set_permissions(replaced.permissions())?;
    }
    temporary.as_file().sync_all()?;
    Ok(temporary)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(folder: &Path) -> Vec<std::ffi::OsString> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .expect("a folder")
            .map(|it| it.expect("an entry").file_name())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn replaced_files_keep_their_permissions_and_leave_nothing_beside_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let odd = folder.path().join(OsStr::from_bytes(b"od\xffd.yaml"));
        let new = folder.path().join("new.yaml");
        fs::write(&odd, "before").expect("written");
        fs::set_permissions(&odd, Permissions::from_mode(0o640)).expect("set");
        write_all(&[(&odd, "after"), (&new, "new")]).expect("written");
        assert_eq!(fs::read_to_string(&odd).expect("read"), "after");
        assert_eq!(fs::read_to_string(&new).expect("read"), "new");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&odd), 0o640);
        let plain = folder.path().join("plain");
        fs::write(&plain, "").expect("written");
        assert_eq!(mode(&new), mode(&plain), "a new file follows the umask");
        assert_eq!(names(folder.path()).len(), 3);
    }

    #[test]
    fn links_devices_folders_and_read_only_files_are_refused_and_nothing_is_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::write(at("target"), "kept").expect("written");
        fs::write(at("closed"), "kept").expect("written");
        fs::set_permissions(at("closed"), Permissions::from_mode(0o444)).expect("set");
        symlink(at("target"), at("link")).expect("linked");
        symlink(at("nowhere"), at("dangling")).expect("linked");
        symlink(at("loop"), at("loop")).expect("linked");
        fs::create_dir(at("folder")).expect("made");
        let before = names(folder.path());
        for bad in ["link", "dangling", "loop", "folder", "closed"] {
            let (good, bad) = (at("good.yaml"), at(bad));
            let refused = write_all(&[(&good, "new"), (&bad, "overwritten")]);
            assert!(refused.is_err(), "{}", bad.display());
            assert_eq!(names(folder.path()), before, "{}", bad.display());
        }
        let null = regular(Path::new("/dev/null")).expect_err("a device");
        assert_eq!(
            null.to_string(),
            "/dev/null is not a regular file; name another one"
        );
        assert_eq!(fs::read_to_string(at("target")).expect("read"), "kept");
        assert_eq!(fs::read_to_string(at("closed")).expect("read"), "kept");
    }
}
