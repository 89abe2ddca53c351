//! What a file's name says about who gets to read it.

/// Prose about code: signs in it are talk.
pub(crate) fn is_prose(path: &str) -> bool {
    let extension = extension(path);
    path.ends_with("EDITMSG")
        || ["md", "mdx", "markdown", "rst", "adoc", "asciidoc", "txt", "org", "tex", "po"].contains(&extension.as_str())
}

/// Code that is sent to browsers and devices.
pub(crate) fn is_client(path: &str) -> bool {
    const EXTENSIONS: [&str; 9] = ["html", "htm", "vue", "svelte", "astro", "jsx", "tsx", "bundle", "jsbundle"];
    const FOLDERS: [&str; 12] =
        ["public", "static", "dist", "www", "assets", "client", "frontend", "browser", "web", "webapp", "_next", "res"];
    let extension = extension(path);
    let is_script = ["js", "mjs", "ts", "map", "xml", "json"].contains(&extension.as_str());
    let is_in_package = [".apk!", ".ipa!", ".aab!"].iter().any(|package| path.contains(package));
    let mut folders = path.rsplit(['/', '!']).skip(1);
    EXTENSIONS.contains(&extension.as_str())
        || is_in_package
        || is_script && folders.any(|part| FOLDERS.contains(&part))
}

fn extension(path: &str) -> String {
    let name = path.rsplit(['/', '!']).next().unwrap_or_default();
    name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell() {
        assert!(is_prose("docs/README.md") && is_prose("a.zip!notes.TXT") && !is_prose("md") && !is_prose("index.js"));
        assert!(is_client("index.html") && is_client("dist/app.js") && is_client("a.apk!assets/index.android.bundle"));
        assert!(!is_client("server/app.js") && !is_client("app.py"));
    }
}
