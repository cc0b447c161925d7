# sim.sh: simulated hosts for many desktops (imaged_sim.c), and users for them.  Read by bash, after
# tests/guest/libvirt.sh.
#
#   sim_hosts DIR N         N files that describe a host of 64 CPUs and 1 TiB
#   sim_uri N               the URI of one, in the libvirtd that libvirt_start began
#   sim_users CATALOG N     users u1 to uN, while no daemon runs
#   sim_assign CATALOG      the desktops, by name, to the users u1, u2 ... one each
#   sim_pool CATALOG NAME   a pool of all desktops, free, for all users

sim_hosts()
{
    local i
    sim_dir=$1
    mkdir -p "$sim_dir"
    for ((i = 1; i <= $2; i++)); do
        cat >"$sim_dir/host$i.xml" <<E
<node><cpu><nodes>1</nodes><sockets>4</sockets><cores>16</cores><threads>1</threads><mhz>2000</mhz>
<model>x86_64</model></cpu><memory>1073741824</memory></node>
E
    done
}

sim_uri()
{
    echo "test+unix://$sim_dir/host$1.xml?socket=$libvirt_dir/run/libvirt-sock"
}

sim_users()
{
    sqlite3 "$1" "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $2)
        INSERT INTO user (id, name, name_key, full_name, email, is_disabled, created_at, changed_at)
        SELECT printf('%032x', i), 'u' || i, 'u' || i, '', '', 0, 0, 0 FROM n"
}

sim_assign()
{
    sqlite3 "$1" "INSERT INTO assignment (desktop_id, user_id, is_owner, may_take_over, created_at)
        SELECT id, printf('%032x', row_number() OVER (ORDER BY name)), 1, 0, 0 FROM desktop"
}

sim_pool()
{
    sqlite3 "$1" "
        INSERT INTO pool (id, name, type, template_id, size, spares, max_per_user, settings, created_at,
            changed_at) SELECT printf('%032x', 99), '$2', 'automatic', (SELECT id FROM template), count(*), 0,
            1, '{}', 0, 0 FROM desktop;
        INSERT INTO pool_desktop (desktop_id, pool_id, state, clean_generation, n_extensions, changed_at)
            SELECT id, printf('%032x', 99), 'free', generation, 0, 0 FROM desktop;
        INSERT INTO pool_grant SELECT printf('%032x', 99), 'user', id, 0 FROM user"
}
