//! `orknet credentials`: certificates and kubeconfigs from a server's authority, for nodes and people.

use anyhow::{Context, Result};
use orknet_auth::authn::GROUP_NODES;
use orknet_auth::kubeconfig::kubeconfig;
use orknet_auth::pki::{Pki, YEAR, write_private};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Issues credentials from a server's certificate authority. Run it on the server's host, and carry the files to where they are used.
#[derive(clap::Args)]
pub struct Credentials {
    /// The server's directory of keys.
    #[arg(long, default_value = "/var/lib/orknet/server/pki")]
    pki_dir: PathBuf,
    /// The API server's URL as the user of the credentials sees it.
    #[arg(long)]
    server: String,
    #[command(subcommand)]
    who: Who,
}

#[derive(clap::Subcommand)]
enum Who {
    /// For a node: kubeconfig, serving certificate of its kubelet, the authority's certificate.
    Node {
        name: String,
        /// The node's addresses.
        #[arg(long = "address", required = true)]
        addresses: Vec<IpAddr>,
        /// Directory for the files.
        #[arg(long)]
        out: PathBuf,
    },
    /// For a person or a program: a kubeconfig on standard output.
    User {
        name: String,
        /// `system:masters` may do everything.
        #[arg(long)]
        group: Option<String>,
    },
}

/// The files of a node.
pub struct Files {
    pub kubeconfig: PathBuf,
    pub serving_certificate: PathBuf,
    pub serving_key: PathBuf,
    pub ca: PathBuf,
}

impl Files {
    /// By their usual names.
    pub fn in_directory(directory: &Path) -> Self {
        Self {
            kubeconfig: directory.join("kubeconfig"),
            serving_certificate: directory.join("kubelet.crt"),
            serving_key: directory.join("kubelet.key"),
            ca: directory.join("ca.crt"),
        }
    }
}

/// Issues them. Blocking.
pub fn run(options: Credentials) -> Result<()> {
    let hint = "no authority; remedy: run this on the server's host once the server has run, or name its directory (--pki-dir)";
    let pki = Pki::open(&options.pki_dir).context(hint)?;
    match options.who {
        Who::Node { name, addresses, out } => issue_node(&pki, &name, &options.server, &addresses, &Files::in_directory(&out)),
        Who::User { name, group } => {
            let credentials = pki.issue_client(&name, group.as_deref(), YEAR)?;
            print!("{}", kubeconfig("orknet", &options.server, pki.ca_pem(), &name, &credentials));
            Ok(())
        }
    }
}

/// Writes a node's files; the kubeconfig last, as the mark that all are there.
pub fn issue_node(pki: &Pki, name: &str, server: &str, addresses: &[IpAddr], files: &Files) -> Result<()> {
    let directory = files.kubeconfig.parent().context("a file has a directory")?;
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let serving = pki.issue_serving(&format!("system:node:{name}"), &[name.to_owned()], addresses, YEAR)?;
    write_private(&files.ca, pki.ca_pem())?;
    write_private(&files.serving_certificate, &serving.certificate_pem)?;
    write_private(&files.serving_key, &serving.key_pem)?;
    let user = format!("system:node:{name}");
    let credentials = pki.issue_client(&user, Some(GROUP_NODES), YEAR)?;
    Ok(write_private(&files.kubeconfig, &kubeconfig("orknet", server, pki.ca_pem(), &user, &credentials))?)
}
