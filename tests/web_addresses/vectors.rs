//! Published test vectors.

/// The table of the *URLs and Hashing* pages.
pub(crate) const PAGE: [(&[u8], &str); 33] = [
    (b"http://host/%25%32%35", "http://host/%25"),
    (b"http://host/%25%32%35%25%32%35", "http://host/%25%25"),
    (b"http://host/%2525252525252525", "http://host/%25"),
    (b"http://host/asdf%25%32%35asd", "http://host/asdf%25asd"),
    (b"http://host/%%%25%32%35asd%%", "http://host/%25%25%25asd%25%25"),
    (b"http://www.google.com/", "http://www.google.com/"),
    (
        b"http://%31%36%38%2e%31%38%38%2e%39%39%2e%32%36/%2E%73%65%63%75%72%65/%77%77%77%2E%65%62%61%79%2E%63%6F%6D/",
        "http://168.188.99.26/.secure/www.ebay.com/",
    ),
    (
        b"http://195.127.0.11/uploads/%20%20%20%20/.verify/.eBaysecure=updateuserdataxplimnbqmn-xplmvalidateinfoswqpcmlx=hgplmcx/",
        "http://195.127.0.11/uploads/%20%20%20%20/.verify/.eBaysecure=updateuserdataxplimnbqmn-xplmvalidateinfoswqpcmlx=hgplmcx/",
    ),
    (
        b"http://host%23.com/%257Ea%2521b%2540c%2523d%2524e%25f%255E00%252611%252A22%252833%252944_55%252B",
        "http://host%23.com/~a!b@c%23d$e%25f^00&11*22(33)44_55+",
    ),
    (b"http://3279880203/blah", "http://195.127.0.11/blah"),
    (b"http://www.google.com/blah/..", "http://www.google.com/"),
    (b"www.google.com/", "http://www.google.com/"),
    (b"www.google.com", "http://www.google.com/"),
    (b"http://www.evil.com/blah#frag", "http://www.evil.com/blah"),
    (b"http://www.GOOgle.com/", "http://www.google.com/"),
    (b"http://www.google.com.../", "http://www.google.com/"),
    (b"http://www.google.com/foo\tbar\rbaz\n2", "http://www.google.com/foobarbaz2"),
    (b"http://www.google.com/q?", "http://www.google.com/q?"),
    (b"http://www.google.com/q?r?", "http://www.google.com/q?r?"),
    (b"http://www.google.com/q?r?s", "http://www.google.com/q?r?s"),
    (b"http://evil.com/foo#bar#baz", "http://evil.com/foo"),
    (b"http://evil.com/foo;", "http://evil.com/foo;"),
    (b"http://evil.com/foo?bar;", "http://evil.com/foo?bar;"),
    (b"http://\x01\x80.com/", "http://%01%80.com/"),
    (b"http://notrailingslash.com", "http://notrailingslash.com/"),
    (b"http://www.gotaport.com:1234/", "http://www.gotaport.com/"),
    (b"  http://www.google.com/  ", "http://www.google.com/"),
    (b"http:// leadingspace.com/", "http://%20leadingspace.com/"),
    (b"http://%20leadingspace.com/", "http://%20leadingspace.com/"),
    (b"%20leadingspace.com/", "http://%20leadingspace.com/"),
    (b"https://www.securesite.com/", "https://www.securesite.com/"),
    (b"http://host.com/ab%23cd", "http://host.com/ab%23cd"),
    (b"http://host.com//twoslashes?more//slashes", "http://host.com/twoslashes?more//slashes"),
];

/// Address, host, path, query: the cases of Chromium's unit test that split the address or add to the page.
pub(crate) const CHROMIUM: [(&str, &str, &str, &str); 18] = [
    ("http://www.google.com/q?", "www.google.com", "/q", ""),
    ("http://www.google.com/q?r?", "www.google.com", "/q", "r?"),
    ("http://www.google.com/q?r?s", "www.google.com", "/q", "r?s"),
    ("http://evil.com/foo?bar;", "evil.com", "/foo", "bar;"),
    (
        "http://host.com/%257Ea%2521b%2540c%2523d%2524e%25f%255E00%252611%252A22%252833%252944_55%252B",
        "host.com",
        "/~a!b@c%23d$e%25f^00&11*22(33)44_55+",
        "",
    ),
    ("http://www.google.com/blah/..", "www.google.com", "/", ""),
    ("http://www.google.com/blah#fraq", "www.google.com", "/blah", ""),
    ("http://3279880203/blah", "195.127.0.11", "/blah", ""),
    ("  http://www.google.com/  ", "www.google.com", "/", ""),
    ("http:// leadingspace.com/", "%20leadingspace.com", "/", ""),
    ("http://host.com/ab%23cd", "host.com", "/ab%23cd", ""),
    ("http://host%7d.com//twoslashes?more//slashes", "host}.com", "/twoslashes", "more//slashes"),
    ("http://host.com/abc?val=xyz#anything", "host.com", "/abc", "val=xyz"),
    ("http://abc:def@host.com/xyz", "host.com", "/xyz", ""),
    ("http://host%7d.com/abc/%2e%2e%2fdef", "host}.com", "/def", ""),
    ("http://.......host...com.....//abc/////def%2F%2F%2Fxyz", "host.com", "/abc/def/xyz", ""),
    ("ftp://host.com/foo?bar", "host.com", "/foo", "bar"),
    ("https://www.securesite.com/", "www.securesite.com", "/", ""),
];

/// Addresses of which Chromium's unit test expects empty parts; this crate returns an error with the reason.
pub(crate) const CHROMIUM_OPAQUE: [&str; 3] =
    ["data:text/html;charset=utf-8,%0D%0A", "javascript:alert()", "mailto:abc@example.com"];

/// The page's and Chromium's examples of expressions.
pub(crate) const EXPRESSIONS: [(&str, &[&str]); 4] = [
    (
        "http://a.b.c/1/2.html?param=1",
        &[
            "a.b.c/1/2.html?param=1",
            "a.b.c/1/2.html",
            "a.b.c/",
            "a.b.c/1/",
            "b.c/1/2.html?param=1",
            "b.c/1/2.html",
            "b.c/",
            "b.c/1/",
        ],
    ),
    (
        "http://a.b.c.d.e.f.g/1.html",
        &[
            "a.b.c.d.e.f.g/1.html",
            "a.b.c.d.e.f.g/",
            "c.d.e.f.g/1.html",
            "c.d.e.f.g/",
            "d.e.f.g/1.html",
            "d.e.f.g/",
            "e.f.g/1.html",
            "e.f.g/",
            "f.g/1.html",
            "f.g/",
        ],
    ),
    ("http://1.2.3.4/1/", &["1.2.3.4/1/", "1.2.3.4/"]),
    ("http://a.b/saw-cgi/eBayISAPI.dll/", &["a.b/saw-cgi/eBayISAPI.dll/", "a.b/saw-cgi/", "a.b/"]),
];
