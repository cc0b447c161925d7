"""search_fill.py CATALOG DESKTOPS USERS HOSTS APPLICATION_ROWS EVENTS: fill a catalog that nobody has open.

Always the same rows: 40 templates of three versions; 1 user of 97 is a john; a desktop has its own set of
applications out of 20,000; three of four run; eight of ten are assigned, one is in a pool.
"""
import random
import sqlite3
import sys
import time
import uuid
path,nd,nu,nh,na,ne=sys.argv[1],*map(int,sys.argv[2:7])
random.seed(7)
c=sqlite3.connect(path,isolation_level=None)
c.execute('PRAGMA synchronous=OFF'); c.execute('PRAGMA cache_size=-400000')
c.execute('BEGIN')
now=int(time.time()*1000)
def rid(): return '%032x'%random.getrandbits(128)
store=c.execute('SELECT id FROM store').fetchone()[0]
needed={}
def ins(t,**k):
    if t not in needed:
        needed[t]=[(r[1], 0 if r[2]=='INTEGER' else '') for r in c.execute(f'PRAGMA table_info({t})') if r[3] and r[4] is None and r[1]!='id']
    for name,empty in needed[t]:
        k.setdefault(name,empty)
    c.execute(f"INSERT INTO {t} ({','.join(k)}) VALUES ({','.join('?'*len(k))})",list(k.values()))
names=['winxp-office','win10-base','debian-12','ubuntu-dev','winxp-kiosk','rhel9-lab']+['tmpl-%02d'%i for i in range(34)]
versions=[]
for t,n in enumerate(names):
    tid=rid()
    ins('template',id=tid,name=n,last_version=3,is_trashed=0,created_at=now,changed_at=now)
    for v in (1,2,3):
        vid,lid=rid(),rid()
        ins('layer',id=lid,slot=lid,store_id=store,parent_id=None,owner_kind='template',owner_id=vid,generation=0,state='frozen',place='layers',virtual_size=20<<30,checksum=None,created_at=now)
        ins('version',id=vid,template_id=tid,version=v,state='published',is_trashed=0,layer_id=lid,cpus=2,memory_bytes=4<<30,os='os',description='',source='',notes='',created_at=now,changed_at=now)
        versions.append((vid,lid))
first=['john','mary','peter','anna','li','omar','eva','ivan','johnny','kim','lena','max','nora','otto','paul','rita','sam','tina','uwe','vera']
users=[]; groups=[]
for g in range(200):
    gid=rid(); groups.append(gid)
    ins('user_group',id=gid,name='group-%03d'%g,name_key='group-%03d'%g,created_at=now)
for u in range(nu):
    uid=rid(); n='%s.%05d'%(random.choice(first) if u%20 else 'x',u)
    if u%97==0: n='john.%05d'%u
    users.append((uid,n))
    ins('user',id=uid,name=n,name_key=n.lower(),full_name=n.title(),email=n+'@example.com' if u%10 else '',is_disabled=int(u%50==0),created_at=now-u*3600000,changed_at=now)
    for g in random.sample(groups,3): c.execute('INSERT INTO group_member (group_id,user_id) VALUES(?,?)',(g,uid))
role = c.execute("SELECT id FROM role WHERE name = 'user'").fetchone()[0]
for uid, _ in users[:100]:
    ins('role_grant', id=rid(), role_id=role, subject_kind='user', subject_id=uid, scope_kind='all', created_at=now)
hosts=[]
for h in range(nh):
    hid=rid(); hosts.append(hid)
    n='vs-a' if h==0 else 'vs-%03d'%h
    ins('host',id=hid,name=n,uri='test:///default?%d'%h,accelerator='tcg',store_paths='{}',is_maintenance=1,created_at=now)
napps=20000
for a in range(1,napps+1):
    n=['libreoffice-%d','openoffice-%d','firefox-%d','gimp-%d','lib%d','python3-%d','tool-%d','font-%d','office-addon-%d','driver-%d'][a%10 if a%100<10 else 4+a%4]%a
    ins('application',id=a,name=n,version='1.%d'%a,arch='amd64')
per=max(1,na//nd)
pools=[]
for p in range(20):
    pid=rid(); pools.append(pid)
    ins('pool',id=pid,name='pool-%02d'%p,type='automatic',template_id=c.execute('SELECT template_id FROM version WHERE id=?',(versions[p][0],)).fetchone()[0],size=100,spares=5,max_per_user=1,settings='{}',created_at=now,changed_at=now)
allapps=range(1,napps+1)
for d in range(nd):
    did,lid=rid(),rid(); v,vl=versions[d%len(versions)]
    name='desk-%05d'%d
    ins('layer',id=lid,slot=lid,store_id=store,parent_id=vl,owner_kind='desktop',owner_id=did,generation=1+d%5,state='active',place='layers',virtual_size=20<<30,checksum=None,created_at=now)
    ins('desktop',id=did,name=name,version_id=v,owner='',generation=1+d%5,layer_id=lid,store_id=store,mac='52:54:00:%02x:%02x:%02x'%(d>>16,d>>8&255,d&255),uuid=str(uuid.UUID(int=d)),state='ok',is_trashed=0,created_at=now-d*60000,changed_at=now)
    ins('layer_counts',layer_id=lid,inode=d,length=1,mtime_ns=0,ctime_ns=0,disk_bytes=(d%4000)<<20,data_bytes=(d%4000)<<20,zero_bytes=0,flattened_bytes=8<<30)
    ins('application_set',id=d+1,hash=str(d),n_applications=per,is_cut=0)
    c.executemany('INSERT INTO application_in VALUES(?,?)',[(d+1,a) for a in random.sample(allapps,per)])
    ins('inspection',layer_id=lid,inode=d,length=1,mtime_ns=0,disk_bytes=1,inspected_at=now,method='fast',result='{}',set_id=d+1)
    u=users[d%nu]
    if d%10<8: ins('assignment',desktop_id=did,user_id=u[0],is_owner=1,created_at=now)
    elif d%10==8: ins('pool_desktop',desktop_id=did,pool_id=pools[d//10%20],state='given' if d%20>9 else 'free',user_id=u[0] if d%20>9 else None,n_extensions=0,changed_at=now)
    if d%5 != 3:
        h=hosts[d%nh]
        ins('run',desktop_id=did,host_id=h,incarnation=rid(),generation=1,state='running',started_at=now-d*1000,changed_at=now)
        if d%3==0: ins('session',id=rid(),user_id=u[0],desktop_id=did,host_id=h,generation=1,protocol='spice',client_address='10.0.0.%d'%(d%250),state='connected',created_at=now-d*1000)
words=['desktop','started','on','host','because','disk','full','reset','user','logged','in','failed','network','session','ended','with','error','snapshot']
kinds=['desktop.start','desktop.reset','session.end','host.state','snapshot.create']
rows=((now-(ne-i)*1000,'host.down' if i%100000==7 else random.choice(kinds),'alarm' if i%100==0 else 'info','desk-%05d'%random.randrange(nd),random.choice(users)[1],' '.join(random.choice(words) for _ in range(8))+(' watchdog timeout %d'%i if i%5000==0 else ' %d'%i)) for i in range(ne))
c.executemany('INSERT INTO event(time,kind,severity,object,who,message) VALUES(?,?,?,?,?,?)',rows)
c.execute('COMMIT')
c.execute('PRAGMA wal_checkpoint(TRUNCATE)')
