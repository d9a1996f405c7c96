//! `orknet keys`: the keys that tokens of service accounts are signed with and verified by; all keys of a cluster, brought to another server's host.

use super::kept;
use anyhow::{Context, Result, bail};
use orknet_auth::account_keys::{self, AccountKeys};
use orknet_auth::carried::{self, Texts};
use orknet_auth::pki;
use orknet_store::snapshot::KeptFile;
use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

/// What to do about keys that are not to be had, and about others that are there.
const NO_KEYS: &str = "run this on the server's host once the server has run, or name its directory (--pki-dir)";
const OTHER_KEYS: &str = "a server has made its own here, or it is another cluster's: move them away while the server does not run";

/// Shows and rotates the keys of service accounts' tokens, and brings all keys to another server's host. Run it on the server's host; a server reads its
/// keys when it starts.
#[derive(clap::Args)]
pub struct Keys {
    /// The server's directory of keys.
    #[arg(long, global = true, default_value = "/var/lib/orknet/server/pki")]
    pki_dir: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Shows the keys that there are.
    List,
    /// Makes the key that will sign after the next rotation, for it to be accepted everywhere before: with several servers, copy sa-next.key to each.
    Prepare,
    /// Lets the prepared key sign, or a new one where none is prepared. What signed until now is accepted on.
    Rotate,
    /// Accepts the tokens of former keys no more.
    Remove {
        /// The keys' ids; after `--`, where one begins with a dash.
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Writes all keys of the cluster, the authority's too, into a sealed file, and shows the key that opens it.
    Export {
        /// The file, of mode 0600; one that is there is replaced.
        file: PathBuf,
    },
    /// Puts the keys of such a file where there are none; asks for the key (on standard input). Those that are there already stay.
    Import { file: PathBuf },
}

/// Does it. Blocking.
pub fn run(options: Keys) -> Result<()> {
    let directory = &options.pki_dir;
    match &options.what {
        What::Export { file } => return export(directory, file),
        What::Import { file } => return import(directory, file, &asked()?),
        What::List | What::Prepare | What::Rotate | What::Remove { .. } => {}
    }
    let keys = AccountKeys::open(directory).with_context(|| format!("no keys; remedy: {NO_KEYS}"))?;
    match options.what {
        What::List => {
            println!("{:<9} ID", "USE");
            println!("{:<9} {}", "signs", keys.signing.public.id);
            keys.next.iter().for_each(|key| println!("{:<9} {}", "next", key.id));
            keys.former.iter().for_each(|key| println!("{:<9} {}", "accepted", key.id));
        }
        What::Prepare => {
            let id = account_keys::prepare(directory)?;
            println!("{id} signs after the next rotation: start the servers anew, so that they accept it, before you rotate");
        }
        What::Rotate => {
            let (now, former) = account_keys::rotate(directory)?;
            println!("{now} signs once the server is started anew; {former} is accepted until it is removed");
        }
        What::Remove { ids } => {
            for id in ids {
                if id == keys.signing.public.id {
                    bail!("{id} is the key that signs; remedy: rotate first");
                }
                if !account_keys::remove(directory, &id)? {
                    bail!("there is no former key {id}; remedy: `orknet keys list` shows those that there are");
                }
                println!("{id}: its tokens are refused once the server is started anew");
            }
        }
        // Done above.
        What::Export { .. } | What::Import { .. } => {}
    }
    Ok(())
}

fn export(directory: &Path, file: &Path) -> Result<()> {
    let key = seal(directory, file)?;
    println!("{}: the keys of {}, sealed", file.display(), directory.display());
    println!("Bring it to the other host, and there, before its server starts for the first time: orknet keys import FILE");
    println!("It asks for this key, which is kept nowhere:");
    println!("{key}");
    Ok(())
}

/// Writes the file; answers the key.
fn seal(directory: &Path, file: &Path) -> Result<String> {
    let mut texts = Texts::new();
    for kept in kept::read(directory, NO_KEYS)? {
        let text = String::from_utf8(kept.contents.to_vec()).with_context(|| format!("{} is no text", kept.name))?;
        texts.insert(kept.name, text);
    }
    let (sealed, key) = carried::seal(&texts)?;
    pki::write_private(file, &sealed)?;
    Ok(key)
}

fn import(directory: &Path, file: &Path, key: &str) -> Result<()> {
    let sealed = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let texts = carried::open(&sealed, key).with_context(|| format!("cannot open {}", file.display()))?;
    let kept = |(name, text): (String, String)| KeptFile { mode: pki::mode_of(&name).unwrap_or(0o600), name, contents: text.into() };
    let files: Vec<KeptFile> = texts.into_iter().map(kept).collect();
    let missing = kept::missing(&files, directory, "the file", OTHER_KEYS)?;
    kept::put(&missing, directory)?;
    match missing.len() {
        0 => println!("{}: the keys were there", directory.display()),
        _ => println!("{}: {}", directory.display(), missing.iter().map(|file| &file.name[..]).collect::<Vec<_>>().join(", ")),
    }
    Ok(())
}

/// A line of standard input. On a command line it would be seen by others, and stay in the shell's history.
fn asked() -> Result<String> {
    if std::io::stdin().is_terminal() {
        eprint!("Key: ");
        std::io::stderr().flush()?;
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("no key on standard input")?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use orknet_auth::pki::Pki;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn all_keys_come_to_another_host_and_what_is_there_is_left_alone() {
        let above = tempfile::tempdir().unwrap();
        let [first, second, third] = ["first", "second", "third"].map(|name| above.path().join(name));
        let file = above.path().join("keys");
        let authority = Pki::open_or_create(&first).unwrap().ca_pem().to_owned();
        let key = seal(&first, &file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        import(&second, &file, &key).unwrap();
        assert_eq!(Pki::open(&second).unwrap().ca_pem(), authority);
        assert_eq!(fs::read(first.join("sa.key")).unwrap(), fs::read(second.join("sa.key")).unwrap());
        assert_eq!(fs::metadata(second.join("ca.key")).unwrap().permissions().mode() & 0o777, 0o600);

        // A key that was prepared later comes the same way, to those that are there.
        account_keys::prepare(&first).unwrap();
        let later = seal(&first, &file).unwrap();
        assert!(import(&second, &file, &key).is_err(), "a key opens one file");
        import(&second, &file, &later).unwrap();
        let signs_next = |directory: &Path| AccountKeys::open(directory).unwrap().next.map(|key| key.id);
        assert!(signs_next(&second).is_some() && signs_next(&second) == signs_next(&first));

        // Another cluster's.
        let other = Pki::open_or_create(&third).unwrap().ca_pem().to_owned();
        let error = import(&third, &file, &later).unwrap_err().to_string();
        assert!(error.contains("is another than the file's; remedy:"), "{error}");
        assert_eq!(Pki::open(&third).unwrap().ca_pem(), other);
    }
}
