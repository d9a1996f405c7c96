//! `orknet restore`: a backup into an empty store and an empty directory of keys.

use super::kept;
use super::place::{self, Place};
use anyhow::{Context, Result};
use orknet_store::snapshot::{self, Begin, Contents};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const OTHER_KEYS: &str = "name an empty directory (--pki-dir), move away what is there, or keep it (--without-keys)";

/// Fills an empty store with what a backup holds, and puts the cluster's keys in place. The server is started afterwards. Resource versions begin
/// above all that clients can have seen; uids and names are as they were.
#[derive(clap::Args)]
pub struct Restore {
    /// The backup.
    file: PathBuf,
    #[command(flatten)]
    place: Place,
    /// Directory for keys and certificates (default /var/lib/orknet/server/pki).
    #[arg(long)]
    pki_dir: Option<PathBuf>,
    /// Leaves the backup's keys out: for a directory that has an authority already.
    #[arg(long, conflicts_with = "pki_dir")]
    without_keys: bool,
    /// Removes what a restore that was not done has left, and begins anew.
    #[arg(long)]
    again: bool,
}

/// Checks everything before anything is written; then writes, and says what is there.
pub async fn run(options: Restore) -> Result<()> {
    let (store, pki_dir) = options.place.find(options.pki_dir.as_ref())?;
    let Contents { header, files, largest } = snapshot::check(&options.file)?;
    let files = if options.without_keys { Vec::new() } else { files };
    let missing = kept::missing(&files, &pki_dir, "the backup", OTHER_KEYS)?;
    let name = place::name(&store);
    let taken = UNIX_EPOCH + Duration::from_millis(header.taken_at);
    let begin = Begin {
        above: snapshot::never_reached(header.revision, taken, SystemTime::now()),
        again: options.again,
        from: options.file.display().to_string(),
    };
    let target = place::target(&store, &begin, largest).await.with_context(|| format!("cannot restore into {name}"))?;
    // From here on a failure leaves a mark, and nobody takes what is there for a store.
    kept::put(&missing, &pki_dir)?;
    let revision = snapshot::restore(&options.file, &*target).await.with_context(|| format!("the restore into {name} is not done"))?;
    println!("{name}: {} objects and claims of cluster {}, at revision {revision}", header.keys, header.cluster);
    println!("They are those of revision {} in {}.", header.revision, options.file.display());
    match (files.is_empty(), missing.is_empty()) {
        (true, _) => println!("No keys were restored: credentials are good only with the authority that they were made by."),
        (false, true) => println!("{}: the cluster's keys were there.", pki_dir.display()),
        (false, false) => println!("{}: the cluster's keys.", pki_dir.display()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::OTHER_KEYS;
    use crate::commands::kept::{missing, put};
    use orknet_auth::pki::{self, Pki};
    use orknet_store::snapshot::KeptFile;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    fn kept(directory: &Path) -> Vec<KeptFile> {
        let read = |(name, mode): &(&str, u32)| KeptFile {
            name: (*name).to_owned(),
            mode: *mode,
            contents: fs::read(directory.join(name)).unwrap().into(),
        };
        pki::FILES.iter().map(read).collect()
    }

    #[test]
    fn keys_are_put_where_there_are_none_and_others_are_left_alone() {
        let above = tempfile::tempdir().unwrap();
        let [first, second, third] = ["first", "second", "third"].map(|name| above.path().join(name));
        let authority = Pki::open_or_create(&first).unwrap().ca_pem().to_owned();
        Pki::open_or_create(&second).unwrap();
        let files = kept(&first);
        let missing = |files: &[KeptFile], directory: &Path| missing(files, directory, "the backup", OTHER_KEYS);
        put(&missing(&files, &third).unwrap(), &third).unwrap();
        assert_eq!(Pki::open(&third).unwrap().ca_pem(), authority);
        assert_eq!(fs::metadata(third.join("ca.key")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(missing(&files, &third).unwrap(), []);
        let others = kept(&second);
        let error = missing(&files, &second).unwrap_err().to_string();
        assert!(error.contains("is another than the backup's; remedy:"), "{error}");
        assert_eq!(kept(&second), others);
        let stranger = KeptFile { name: "authorized_keys".into(), ..files[0].clone() };
        assert!(missing(&[stranger], &third).is_err());
    }
}
