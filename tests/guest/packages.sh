# packages.sh: what builds fetch is kept in $BUILD/package-cache from one run of a test to the next.
#
# Read by bash after lib.sh.  The daemon's own cache begins with it: as hard links where that can be,
# which the helper's user may read and unlink, but not write.
package_cache=$BUILD/package-cache

# packages_take: before the daemon starts.
packages_take()
{
    local to=$state/guest-cache/packages
    mkdir -p "$package_cache" "$to"
    chmod -R a+rX "$package_cache" # it is the helper's user who reads them
    find "$package_cache" -type f -exec cp -l -t "$to" {} + 2>/dev/null ||
        find "$package_cache" -type f -exec cp -t "$to" {} +
    chmod -R a+rX "$to"
}

# packages_keep: after a build.
packages_keep()
{
    find "$state/guest-cache/packages" -type f -links 1 -exec cp -n -t "$package_cache" {} +
}
