//! Puts candle-core's published source, with recording added, into `compiler/candle/.cache/candle-core`, from where the
//! workspace above takes it. Run it once after cloning, and again when anything in this folder changes:
//!
//! ```text
//! cargo run --locked --manifest-path compiler/candle/setup/Cargo.toml
//! ```
//!
//! The source is the one that cargo itself downloads and checks for this folder's lock file. Added are `record.rs` as it
//! is and the changes of `recording.patch`. The folder appears whole or not at all.

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The crate that is changed, as the manifest of this folder pins it.
const CRATE: &str = "candle-core";

/// What is put beside the source, so that a second run sees what the first one made it of.
const STAMP: &str = "made-of.txt";

fn main() -> ExitCode {
    match set_up() {
        Ok(message) => {
            println!("{message}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn set_up() -> Result<String, Box<dyn Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let above = here.parent().ok_or("the folder of this program is not inside another")?;
    let target = above.join(".cache").join(CRATE);
    let (version, source) = published(here)?;
    let record = fs::read_to_string(here.join("record.rs"))?;
    let patch = fs::read_to_string(here.join("recording.patch"))?;
    let made_of = format!("{CRATE} {version}\n{patch}{record}");
    if fs::read_to_string(target.join(STAMP)).is_ok_and(|stamp| stamp == made_of) {
        return Ok(format!("{CRATE} {version} with recording is in {}", target.display()));
    }
    let draft = above.join(".cache").join(format!("{CRATE}.{}", std::process::id()));
    let written = write(&source, &draft, &record, &patch, &made_of)
        .and_then(|()| replace(&draft, &target).map_err(Into::into));
    if let Err(error) = written {
        // What was written so far is of no use; that it can't be removed changes nothing about the error.
        let _ = fs::remove_dir_all(&draft);
        return Err(error);
    }
    Ok(format!("put {CRATE} {version} with recording into {}", target.display()))
}

/// The version and the source folder of the crate as cargo has it.
fn published(manifest_folder: &Path) -> Result<(String, PathBuf), Box<dyn Error>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let output = Command::new(cargo)
        .args(["metadata", "--locked", "--format-version", "1", "--manifest-path"])
        .arg(manifest_folder.join("Cargo.toml"))
        .output()?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        return Err(format!("cargo has no {CRATE}: {}", reason.trim()).into());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let package = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"] == CRATE)
        .ok_or_else(|| format!("cargo metadata lists no package {CRATE}"))?;
    let text = |field: &str| {
        let value = package[field].as_str().map(str::to_owned);
        value.ok_or_else(|| format!("cargo metadata gives {CRATE} no {field}"))
    };
    let manifest = PathBuf::from(text("manifest_path")?);
    let folder = manifest.parent().ok_or("a manifest is in a folder")?;
    Ok((text("version")?, folder.to_owned()))
}

/// Writes the changed source into a folder of its own.
fn write(
    source: &Path,
    draft: &Path,
    record: &str,
    patch: &str,
    made_of: &str,
) -> Result<(), Box<dyn Error>> {
    copy(&source.join("src"), &draft.join("src"))?;
    for file in ["Cargo.toml", "LICENSE", "README.md"] {
        if source.join(file).is_file() {
            fs::copy(source.join(file), draft.join(file))?;
        }
    }
    for part in patch.split("--- a/").skip(1) {
        let (name, _) = part.split_once('\n').ok_or("a part of the patch has no hunks")?;
        let file = draft.join(name.trim());
        let wrong = |reason: &dyn std::fmt::Display| {
            format!(
                "recording.patch does not fit {name}: {reason}; {CRATE} must be the version that it was made for"
            )
        };
        let text = fs::read_to_string(&file).map_err(|error| wrong(&error))?;
        let changes = format!("--- a/{part}");
        let changes = diffy::Patch::from_str(&changes).map_err(|error| wrong(&error))?;
        fs::write(&file, diffy::apply(&text, &changes).map_err(|error| wrong(&error))?)?;
    }
    fs::write(draft.join("src/record.rs"), record)?;
    let manifest = fs::read_to_string(draft.join("Cargo.toml"))?;
    fs::write(draft.join("Cargo.toml"), library_only(&manifest))?;
    fs::write(draft.join(STAMP), made_of)?;
    Ok(())
}

/// The manifest without its examples, tests and benches, which are not copied.
fn library_only(manifest: &str) -> String {
    let mut kept = String::new();
    let mut dropping = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            dropping = ["[[example]]", "[[test]]", "[[bench]]"].contains(&line)
                || line.starts_with("[dev-dependencies");
        }
        if !dropping {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Puts the draft in the place of what was there.
fn replace(draft: &Path, target: &Path) -> std::io::Result<()> {
    if target.exists() {
        fs::remove_dir_all(target)?;
    }
    fs::rename(draft, target)
}
