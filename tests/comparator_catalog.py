"""What the tests' comparator asks the catalogs, per kind of object, of PostgreSQL 9.3 to 18.

Each query gives a name and a description. `_OLDER` holds what stands instead of a column or function that a server
does not have yet. Where two majors print the same thing differently, `normal` takes the difference out.
"""

from __future__ import annotations

import re

_USER_SCHEMA = (
    "n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'towpath')"
    " AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend x WHERE x.objid = {oid} AND x.deptype = 'e')"
)
_MINE = _USER_SCHEMA.format(oid="c.oid")
RELATION = "pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND " + _MINE
# A range type makes its constructors itself, and its multirange with more of them where there are such.
_WRITTEN = "c.prosrc !~ '^(multi)?range_constructor'"
_DEFINED = (
    "(c.typtype IN ('e', 'd', 'r') OR c.typrelid IN (SELECT k.oid FROM pg_catalog.pg_class k WHERE k.relkind = 'c'))"
)
_NAME = "format('%I.%I', n.nspname, c.relname)"


def _in_schema(catalog: str, schema: str) -> str:
    return f"pg_catalog.{catalog} c JOIN pg_catalog.pg_namespace n ON n.oid = c.{schema} AND {_MINE}"


def _sorted(options: str) -> str:
    """Return options in an order of their own: a restore may list them otherwise."""
    return f"(SELECT string_agg(o, ',' ORDER BY o) FROM unnest({options}) o)"


def _grants(name: str, acl: str, kind: str, owner: str, source: str) -> str:
    """Return a query of all rights that others than the owner have; what is granted by default is written out."""
    return (
        f"SELECT {name} || ' to ' || coalesce(r.rolname, 'PUBLIC'), string_agg(a.privilege_type || CASE WHEN"
        f" a.is_grantable THEN '*' ELSE '' END, ',' ORDER BY a.privilege_type) FROM {source}"
        f" CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce({acl}, pg_catalog.acldefault('{kind}', {owner}))) a"
        f" LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee WHERE a.grantee <> {owner} GROUP BY 1, r.rolname"
    )


CATALOG = {
    "schema": "SELECT n.nspname, '' FROM pg_catalog.pg_namespace n WHERE " + _USER_SCHEMA.format(oid="n.oid"),
    "relation": (
        f"SELECT {_NAME}, concat_ws(' ', c.relkind, c.relpersistence, c.relrowsecurity, c.relforcerowsecurity,"
        " c.relispartition, pg_catalog.pg_get_partkeydef(c.oid), pg_catalog.pg_get_expr(c.relpartbound, c.oid),"
        f" {_sorted('c.reloptions')}, (SELECT {_sorted('t.reloptions')} FROM pg_catalog.pg_class t WHERE t.oid ="
        " c.reltoastrelid),"
        " c.reloftype::regtype, (SELECT string_agg(i.inhparent::regclass::text, ',' ORDER BY i.inhseqno)"
        " FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid))"
        f" FROM {RELATION} WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c')"
    ),
    "column": (
        "SELECT format('%I.%I.%I', n.nspname, c.relname, a.attname), concat_ws(' ',"
        " row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum), pg_catalog.format_type(a.atttypid, a.atttypmod),"
        " CASE WHEN a.attnotnull THEN 'not null' END, a.attidentity, a.attgenerated, a.attstorage,"
        " (SELECT collname FROM pg_catalog.pg_collation o WHERE o.oid = a.attcollation),"
        f" nullif(a.attstattarget, -1), {_sorted('a.attoptions')}, {_sorted('a.attfdwoptions')},"
        " pg_catalog.pg_get_expr(d.adbin, d.adrelid))"
        f" FROM {RELATION} JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT"
        f" a.attisdropped"
        " LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum"
        " WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')"
    ),
    "index": (
        f"SELECT {_NAME}, concat_ws(' ', pg_catalog.pg_get_indexdef(c.oid),"
        " i.indisvalid, i.indisprimary, i.indisreplident, i.indisclustered)"
        f" FROM {RELATION} JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid"
    ),
    # 18 keeps rows for NOT NULL, 16 does not; those below a partitioned table get their names anew at every restore.
    "constraint": (
        "SELECT format('%s on %s', quote_ident(k.conname), coalesce(k.conrelid::regclass::text,"
        " k.contypid::regtype::text)),"
        " concat_ws(' ', pg_catalog.pg_get_constraintdef(k.oid), k.convalidated)"
        " FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_namespace n ON n.oid = k.connamespace"
        " AND " + _USER_SCHEMA.format(oid="k.oid") + " WHERE k.contype NOT IN ('n', 't') AND k.conparentid = 0"
    ),
    "view": (
        f"SELECT {_NAME}, pg_catalog.pg_get_viewdef(c.oid) || c.relispopulated"
        f" FROM {RELATION} WHERE c.relkind IN ('v', 'm')"
    ),
    "trigger": (
        "SELECT format('%I on %I.%I', t.tgname, n.nspname, c.relname), concat_ws(' ',"
        " pg_catalog.pg_get_triggerdef(t.oid), t.tgenabled)"
        f" FROM {RELATION} JOIN pg_catalog.pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal"
        " AND t.tgparentid = 0"
    ),
    "event trigger": (
        "SELECT quote_ident(t.evtname), concat_ws(' ', t.evtevent, t.evtfoid::regproc, t.evtenabled, t.evttags::text)"
        " FROM pg_catalog.pg_event_trigger t"
    ),
    "rule": (
        "SELECT format('%I on %I.%I', r.rulename, n.nspname, c.relname), concat_ws(' ',"
        " pg_catalog.pg_get_ruledef(r.oid), r.ev_enabled)"
        f" FROM {RELATION} JOIN pg_catalog.pg_rewrite r ON r.ev_class = c.oid AND r.rulename <> '_RETURN'"
    ),
    "policy": (
        "SELECT format('%I on %I.%I', p.polname, n.nspname, c.relname), concat_ws(' ', p.polcmd, p.polpermissive,"
        " (SELECT string_agg(coalesce(r.rolname, 'PUBLIC'), ',' ORDER BY r.rolname) FROM unnest(p.polroles) o"
        " LEFT JOIN pg_catalog.pg_roles r ON r.oid = o), pg_catalog.pg_get_expr(p.polqual, p.polrelid), 'check',"
        " pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid))"
        f" FROM {RELATION} JOIN pg_catalog.pg_policy p ON p.polrelid = c.oid"
    ),
    "function": (
        "SELECT c.oid::regprocedure::text, concat_ws(' ', c.prokind, pg_catalog.pg_get_function_arguments(c.oid),"
        " pg_catalog.pg_get_function_result(c.oid), l.lanname, c.provolatile, c.proisstrict, c.prosecdef,"
        " c.proleakproof, c.proparallel, c.procost, c.prorows, c.proconfig::text, c.probin, c.prosrc,"
        " pg_catalog.pg_get_function_sqlbody(c.oid), g.aggtransfn, g.aggfinalfn, g.agginitval)"
        f" FROM {_in_schema('pg_proc', 'pronamespace')} JOIN pg_catalog.pg_language l ON l.oid = c.prolang"
        " LEFT JOIN pg_catalog.pg_aggregate g ON g.aggfnoid = c.oid"
        f" WHERE {_WRITTEN}"
    ),
    "type": (
        "SELECT format('%I.%I', n.nspname, c.typname), concat_ws(' ', c.typtype, c.typnotnull, c.typdefault,"
        " pg_catalog.format_type(c.typbasetype, c.typtypmod),"
        " (SELECT string_agg(quote_literal(e.enumlabel), ',' ORDER BY e.enumsortorder) FROM"
        " pg_catalog.pg_enum e WHERE e.enumtypid = c.oid),"
        " (SELECT concat_ws(' ', r.rngsubtype::regtype, r.rngsubdiff) FROM pg_catalog.pg_range r WHERE r.rngtypid ="
        f" c.oid)) FROM {_in_schema('pg_type', 'typnamespace')}"
        " WHERE c.typtype IN ('e', 'd', 'r') OR EXISTS (SELECT FROM pg_catalog.pg_class k WHERE k.oid ="
        " c.typrelid AND k.relkind = 'c')"
    ),
    "statistics": (
        "SELECT format('%I.%I', n.nspname, c.stxname), pg_catalog.pg_get_statisticsobjdef(c.oid) FROM"
        f" {_in_schema('pg_statistic_ext', 'stxnamespace')}"
    ),
    "operator": (
        "SELECT c.oid::regoperator::text, concat_ws(' ', c.oprcode, c.oprcom::regoperator, c.oprrest, c.oprjoin,"
        f" c.oprcanmerge, c.oprcanhash) FROM {_in_schema('pg_operator', 'oprnamespace')} WHERE c.oprcode <> 0"
    ),
    "operator class": (
        "SELECT format('%I.%I', n.nspname, c.opcname), concat_ws(' ', c.opcintype::regtype, c.opcdefault, m.amname,"
        " f.opfname, (SELECT string_agg(concat_ws(' ', o.amopstrategy, o.amopopr::regoperator), ',' ORDER BY"
        " o.amopstrategy) FROM pg_catalog.pg_amop o WHERE o.amopfamily = f.oid))"
        f" FROM {_in_schema('pg_opclass', 'opcnamespace')} JOIN pg_catalog.pg_am m ON m.oid = c.opcmethod"
        " JOIN pg_catalog.pg_opfamily f ON f.oid = c.opcfamily"
    ),
    "cast": (
        "SELECT format('%s as %s', k.castsource::regtype, k.casttarget::regtype), concat_ws(' ',"
        " nullif(k.castfunc, 0)::regprocedure, k.castcontext, k.castmethod) FROM pg_catalog.pg_cast k"
        " WHERE k.oid >= 16384 AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.objid = k.oid AND x.deptype"
        " IN ('e', 'i'))"
    ),
    "collation": (
        "SELECT format('%I.%I', n.nspname, c.collname), concat_ws(' ', c.collprovider, coalesce(c.colliculocale,"
        f" c.collcollate), c.collisdeterministic) FROM {_in_schema('pg_collation', 'collnamespace')}"
    ),
    "text search": (
        "SELECT format('%I.%I', n.nspname, c.cfgname), (SELECT string_agg(concat_ws(' ', m.maptokentype, m.mapseqno,"
        " m.mapdict::regdictionary), ',' ORDER BY m.maptokentype, m.mapseqno) FROM pg_catalog.pg_ts_config_map m"
        f" WHERE m.mapcfg = c.oid) FROM {_in_schema('pg_ts_config', 'cfgnamespace')}"
    ),
    "base type": (
        "SELECT format('%I.%I', n.nspname, c.typname), concat_ws(' ', c.typinput, c.typoutput, c.typreceive, c.typsend,"
        " c.typlen, c.typbyval, c.typalign, c.typstorage, c.typcategory, c.typdelim, c.typdefault)"
        f" FROM {_in_schema('pg_type', 'typnamespace')} WHERE c.typtype = 'b' AND c.typelem = 0 AND c.typrelid = 0"
    ),
    "conversion": (
        "SELECT format('%I.%I', n.nspname, c.conname), concat_ws(' ', pg_catalog.pg_encoding_to_char(c.conforencoding),"
        " pg_catalog.pg_encoding_to_char(c.contoencoding), c.conproc, c.condefault)"
        f" FROM {_in_schema('pg_conversion', 'connamespace')}"
    ),
    "language": (
        "SELECT quote_ident(l.lanname), concat_ws(' ', l.lanpltrusted, l.lanplcallfoid::regproc, l.laninline::regproc,"
        " l.lanvalidator::regproc) FROM pg_catalog.pg_language l WHERE l.lanispl"
    ),
    "transform": (
        "SELECT format('%s in %s', t.trftype::regtype, l.lanname), concat_ws(' ', t.trffromsql, t.trftosql)"
        " FROM pg_catalog.pg_transform t JOIN pg_catalog.pg_language l ON l.oid = t.trflang"
        " WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.objid = t.oid AND x.deptype = 'e')"
    ),
    "access method": (
        "SELECT quote_ident(m.amname), concat_ws(' ', m.amtype, m.amhandler) FROM pg_catalog.pg_am m"
        " WHERE m.oid >= 16384 UNION ALL"
        f" SELECT {_NAME}, m.amname FROM {RELATION} JOIN pg_catalog.pg_am m ON m.oid = c.relam"
        " WHERE c.relkind IN ('r', 'p')"
    ),
    "user mapping": (
        # without options: passwords do not come along, and are not ours to print
        "SELECT format('%s on %s', m.usename, m.srvname), '' FROM pg_catalog.pg_user_mappings m"
    ),
    "inheritance": (
        "SELECT format('%I.%I.%I', n.nspname, c.relname, a.attname), concat_ws(' ', a.attinhcount, a.attislocal)"
        f" FROM {RELATION} JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " WHERE c.relkind IN ('r', 'p', 'f')"
    ),
    "foreign": (
        "SELECT quote_ident(s.srvname), concat_ws(' ', quote_ident(w.fdwname), s.srvtype, s.srvversion,"
        f" {_sorted('s.srvoptions')}) FROM"
        " pg_catalog.pg_foreign_server s JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw UNION ALL"
        f" SELECT {_NAME}, concat_ws(' ', s.srvname, {_sorted('f.ftoptions')}) FROM {RELATION} JOIN"
        " pg_catalog.pg_foreign_table f ON f.ftrelid = c.oid JOIN pg_catalog.pg_foreign_server s ON s.oid = f.ftserver"
    ),
    "extension": (
        "SELECT e.extname, n.nspname FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid ="
        " e.extnamespace"
    ),
    "replica identity": f"SELECT {_NAME}, c.relreplident FROM {RELATION} WHERE c.relkind IN ('r', 'p')",
    "sequence definition": (
        f"SELECT {_NAME}, concat_ws(' ', q.seqtypid::regtype, q.seqstart, q.seqincrement, q.seqmin,"
        " q.seqmax, q.seqcache, q.seqcycle, (SELECT format('%s.%s %s', d.refobjid::regclass, a.attname, d.deptype)"
        " FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum"
        " = d.refobjsubid"
        " WHERE d.objid = c.oid AND d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i')))"
        f" FROM {RELATION} JOIN pg_catalog.pg_sequence q ON q.seqrelid = c.oid"
    ),
    "comment": (
        # 9.3 fails at comments of access methods, which come with the server
        "SELECT concat_ws(' ', i.type, i.identity), d.description FROM (SELECT * FROM pg_catalog.pg_description"
        " WHERE classoid <> 'pg_catalog.pg_am'::regclass OFFSET 0) d,"
        " LATERAL pg_catalog.pg_identify_object(d.classoid, d.objoid, d.objsubid) i"
        " WHERE i.schema IS DISTINCT FROM 'pg_catalog' AND i.schema IS DISTINCT FROM 'information_schema'"
        " AND i.type NOT IN ('language', 'extension', 'access method', 'cast', 'conversion', 'operator',"
        " 'operator class')"
        " AND i.identity IS NOT NULL AND d.objoid >= 2200"
    ),
}
RIGHTS = {
    "owner": (
        f"SELECT {_NAME}, pg_catalog.pg_get_userbyid(c.relowner) FROM {RELATION} UNION ALL SELECT n.nspname::text,"
        " pg_catalog.pg_get_userbyid(n.nspowner) FROM pg_catalog.pg_namespace n WHERE n.nspname <> 'public' AND "
        + _USER_SCHEMA.format(oid="n.oid")
        + " UNION ALL SELECT c.oid::regprocedure::text, pg_catalog.pg_get_userbyid(c.proowner) FROM "
        + _in_schema("pg_proc", "pronamespace")
        + f" AND {_WRITTEN}"
        + " UNION ALL SELECT format('type %I.%I', n.nspname, c.typname), pg_catalog.pg_get_userbyid(c.typowner) FROM "
        + _in_schema("pg_type", "typnamespace")
        + f" AND {_DEFINED}"
    ),
    "grant": " UNION ALL ".join(
        (
            _grants(_NAME, "c.relacl", "r", "c.relowner", RELATION + " AND c.relkind <> 'S'"),
            _grants(_NAME, "c.relacl", "s", "c.relowner", RELATION + " AND c.relkind = 'S'"),
            _grants("c.oid::regprocedure::text", "c.proacl", "f", "c.proowner",
                    _in_schema("pg_proc", "pronamespace") + f" AND {_WRITTEN}"),
            _grants("format('type %I.%I', n.nspname, c.typname)", "c.typacl", "T", "c.typowner",
                    _in_schema("pg_type", "typnamespace") + " AND c.typtype IN ('e', 'd', 'r')"),
            # 15 took CREATE on `public` from everybody: what others have there depends on the version
            _grants("format('schema %I', c.nspname)", "c.nspacl", "n", "c.nspowner",
                    "(SELECT n.* FROM pg_catalog.pg_namespace n WHERE n.nspname <> 'public' AND "
                    + _USER_SCHEMA.format(oid="n.oid") + ") c"),
            _grants(
                "format('column %I.%I.%I', n.nspname, c.relname, a0.attname)", "a0.attacl", "c", "c.relowner",
                f"{RELATION} JOIN pg_catalog.pg_attribute a0 ON a0.attrelid = c.oid AND a0.attacl IS NOT NULL"),
            _grants("'large object ' || c.oid", "c.lomacl", "L", "c.lomowner", "pg_catalog.pg_largeobject_metadata c"),
        )
    ),
    "default privileges": (
        "SELECT concat_ws(' ', pg_catalog.pg_get_userbyid(d.defaclrole), (SELECT n.nspname FROM"
        " pg_catalog.pg_namespace n WHERE n.oid = d.defaclnamespace), d.defaclobjtype), d.defaclacl::text FROM"
        " pg_catalog.pg_default_acl d"
    ),
}  # fmt: skip

# what an older server does not have yet, and what stands for it there
_OLDER: tuple[tuple[int, str, str], ...] = (
    (150000, "c.colliculocale", "NULL"),
    (140000, "pg_catalog.pg_get_function_sqlbody(c.oid)", "NULL"),
    (130000, " AND t.tgparentid = 0", ""),
    (120000, "a.attgenerated", "''"),
    (120000, "c.collisdeterministic", "true"),
    (110000, "c.prokind", "CASE WHEN c.proisagg THEN 'a' WHEN c.proiswindow THEN 'w' ELSE 'f' END"),
    (110000, " AND k.conparentid = 0", ""),
    (100000, "a.attidentity", "''"),
    (100000, "c.relispartition", "false"),
    (100000, "pg_catalog.pg_get_partkeydef(c.oid)", "NULL"),
    (100000, "pg_catalog.pg_get_expr(c.relpartbound, c.oid)", "NULL"),
    (100000, "p.polpermissive", "true"),
    (100000, "c.collprovider", "'c'"),
    (90600, "c.proparallel", "'u'"),
    (90500, "c.relrowsecurity", "false"),
    (90500, "c.relforcerowsecurity", "false"),
    (90400, "i.indisreplident", "false"),
    (90400, "(SELECT FROM", "(SELECT 1 FROM"),
)
_SINCE = {
    "statistics": 100000,
    "policy": 90500,
    "replica identity": 90400,
    "sequence definition": 100000,
    "transform": 90500,
    "access method": 120000,
}


def asked(kind: str, query: str, version: int) -> str | None:
    """Return the query of a kind as a server of this version (`server_version_num`) understands it, or None."""
    if version < _SINCE.get(kind, 0):
        return None
    if version >= 170000:
        query = query.replace("c.colliculocale", "c.colllocale")
    for since, text, instead in _OLDER:
        if version < since:
            query = query.replace(text, instead)
    return query


def plain_name(text: str) -> str:
    """Take the quotes from lower-case names: which of them need any depends on the words that a version knows."""
    return re.sub(r'"([a-z_][a-z0-9_]*)"', r"\1", text)


def normal(kind: str, text: str) -> str:
    """Take out of a description what majors print differently for the same thing."""
    if kind == "trigger":
        return text.replace("EXECUTE PROCEDURE", "EXECUTE FUNCTION")
    if kind == "function":  # from 14 on procedures show IN
        return re.sub(r"^p IN |(?<=, )IN ", lambda found: "p " if found[0].startswith("p") else "", text)
    if kind == "column":  # from 12 on names have the collation C
        return re.sub(r"^(\d+ name\b.*? p) C\b", r"\1", text)
    if kind in ("index", "constraint"):  # 9.3 wrote options without quotes
        return re.sub(r"(?<=[(\s]fillfactor=)'(\d+)'", r"\1", plain_name(text))
    if kind in ("view", "rule", "policy"):
        # From 16 on a column is printed without its table where it is the only one.
        text = re.sub(r'(?:"(?:[^"]|"")*"|(?<![\w"])[^\W\d]\w*)\.(?=["\w])', "", text)
        return re.sub(r"[\s()]+", " ", text)
    return text
