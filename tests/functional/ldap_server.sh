# ldap_server.sh: a real slapd in a folder of its own, on loopback, with nested groups.
#
# Read by bash after lib.sh.
#
#   ldap_start DIR     sets ldap_port, ldaps_port, ldap_pid; its authority is DIR/ca.pem
#   ldap_stop
#   ldap_change        an LDIF of changes from standard input
#
# dc=corp,dc=test has ou=people (alice, bob, carol, "o'hara", dave who is locked) and ou=groups:
# staff has the group tutors, tutors has the group night and alice, night has bob and the group
# staff again (a circle); posix has carol by her name.

ldap_root=cn=admin,dc=corp,dc=test
ldap_secret='ad(min)*'

ldap_ports()
{
    /usr/bin/python3 -c 'import socket
a = [socket.socket() for i in range(2)]
for s in a: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in a))'
}

ldap_certificates()
{
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1/ca.key" -out "$1/ca.pem" \
        -days 30 -subj "/CN=directory authority" &&
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1/tls.key" -out "$1/tls.csr" \
            -subj /CN=localhost &&
        openssl x509 -req -in "$1/tls.csr" -CA "$1/ca.pem" -CAkey "$1/ca.key" -CAcreateserial -days 30 \
            -out "$1/tls.pem" -extfile <(echo subjectAltName=DNS:localhost,IP:127.0.0.1)
}

ldap_person()
{
    cat <<E
dn: uid=$1,ou=people,dc=corp,dc=test
objectClass: inetOrgPerson
uid: $1
cn: $2
sn: ${2##* }
mail: $1@corp.test
userPassword: $3

E
}

ldap_tree()
{
    cat <<E
dn: dc=corp,dc=test
objectClass: dcObject
objectClass: organization
o: corp
dc: corp

dn: ou=people,dc=corp,dc=test
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=corp,dc=test
objectClass: organizationalUnit
ou: groups

E
    ldap_person alice 'Alice Ames' 'alice secret'
    ldap_person bob 'Bob Bell' 'bob (secret)*'
    ldap_person carol 'Carol Cole' 'carol secret'
    ldap_person "o'hara" "Sc\\arlett O'Hara" 'tara tara'
    cat <<E
dn: cn=staff,ou=groups,dc=corp,dc=test
objectClass: groupOfNames
cn: staff
member: cn=tutors,ou=groups,dc=corp,dc=test

dn: cn=tutors,ou=groups,dc=corp,dc=test
objectClass: groupOfNames
cn: tutors
member: uid=alice,ou=people,dc=corp,dc=test
member: cn=night,ou=groups,dc=corp,dc=test

dn: cn=night,ou=groups,dc=corp,dc=test
objectClass: groupOfNames
cn: night
member: uid=bob,ou=people,dc=corp,dc=test
member: cn=staff,ou=groups,dc=corp,dc=test
member: uid=nobody-there,ou=people,dc=corp,dc=test

dn: cn=posix,ou=groups,dc=corp,dc=test
objectClass: posixGroup
cn: posix
gidNumber: 5000
memberUid: carol
E
}

ldap_run()
{
    /usr/sbin/slapd -f "$ldap_dir/slapd.conf" -d 0 \
        -h "ldap://127.0.0.1:$ldap_port/ ldaps://127.0.0.1:$ldaps_port/ ldaps://127.0.0.2:$ldaps_port/" >>"$ldap_dir/slapd.log" 2>&1 &
    ldap_pid=$!
    keep_pid $ldap_pid
    wait_for 30 eval ": </dev/tcp/127.0.0.1/$ldaps_port"
}

ldap_start()
{
    ldap_dir=$1
    mkdir -p "$ldap_dir/db"
    read -r ldap_port ldaps_port <<<"$(ldap_ports)"
    ldap_certificates "$ldap_dir" >/dev/null 2>&1 || return
    cat >"$ldap_dir/slapd.conf" <<E
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile $ldap_dir/pid
TLSCACertificateFile $ldap_dir/ca.pem
TLSCertificateFile $ldap_dir/tls.pem
TLSCertificateKeyFile $ldap_dir/tls.key
sizelimit size.soft=100 size.hard=100 size.pr=20 size.prtotal=unlimited
database mdb
directory $ldap_dir/db
suffix dc=corp,dc=test
rootdn $ldap_root
rootpw $ldap_secret
index objectClass,uid,cn,member,entryUUID eq
limits dn.exact="cn=reader,dc=corp,dc=test" size.soft=100 size.hard=100 size.pr=20 size.prtotal=unlimited
access to attrs=userPassword by self write by anonymous auth by * none
access to * by * read
E
    ldap_tree >"$ldap_dir/tree.ldif"
    /usr/sbin/slapadd -f "$ldap_dir/slapd.conf" -l "$ldap_dir/tree.ldif" >>"$ldap_dir/slapd.log" 2>&1 &&
        ldap_run
}

ldap_stop()
{
    kill -CONT "$ldap_pid" 2>/dev/null
    kill "$ldap_pid" && wait "$ldap_pid" 2>/dev/null
}

ldap_change()
{
    LDAPTLS_CACERT=$ldap_dir/ca.pem ldapmodify -x -H "ldaps://127.0.0.1:$ldaps_port" -D "$ldap_root" \
        -w "$ldap_secret" >>"$ldap_dir/change.log" 2>&1
}
