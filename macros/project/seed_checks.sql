{# The rows of a seed's file, checked: the names of the columns, their types, the rows as lists of values, and the table
   as dbt read it. Values are trimmed, empty ones are null, lines without values are left out, and a column that the file
   lacks is null. What a column may hold is what its data tests and its data_type in _seeds.yml say. #}
{% macro checked_seed() -%}
    {%- set file = model.original_file_path -%}
    {%- do adapter.dispatch('stop_at_broken_line')(file) -%}
    {%- set table = table_of_texts(file) -%}
    {%- set rules = rules_of_seed() -%}
    {%- set names = table.column_names | map('trim') | map('lower') | list -%}
    {%- do check_header(file, names, rules) -%}
    {%- set lacking = model.columns.keys() | reject('in', names) | list -%}
    {%- set types = {} -%}
    {%- for name in names + lacking -%}
        {%- do types.update({name: model.columns[name].data_type if name in model.columns else 'varchar'}) -%}
    {%- endfor -%}
    {%- set rows = [] -%}
    {%- set lines_of_keys = {} -%}
    {# a value with line feeds in it makes the file longer than its rows #}
    {%- set at = namespace(line=2) -%}
    {%- for texts in table.rows -%}
        {%- set row = {} -%}
        {%- for name in names -%}
            {%- set text = (texts[loop.index0] or '') | trim -%}
            {%- set value = checked_value(file, at.line, name, types[name], text, rules) if text else none -%}
            {%- do row.update({name: value}) -%}
        {%- endfor -%}
        {%- if row.values() | reject('none') | list -%}
            {%- do check_row(file, at.line, row, rules, lines_of_keys) -%}
            {%- do rows.append(row.values() | list + [none] * lacking | length) -%}
        {%- endif -%}
        {%- set at.line = at.line + 1 + (texts | join('')).count('\n') -%}
    {%- endfor -%}
    {{ return({'column_names': names + lacking, 'types': types, 'rows': rows, 'table': table}) }}
{%- endmacro %}


{# dbt reads a column as text only if the config column_types names it, and warns of a name that the file lacks. So the
   names come from the file. As a number, the id 007 would be 7. #}
{% macro table_of_texts(file) -%}
    {%- set unreadable -%}
        {{ file }} cannot be read: save it as CSV in UTF-8, with the names of the columns in line 1, commas between the
        values and in no line more values than names
    {%- endset -%}
    {%- set unreadable = unreadable.split() | join(' ') -%}
    {%- for name in try_or_compiler_error(unreadable, load_agate_table).column_names -%}
        {%- do config.model.config.column_types.update({name: 'varchar'}) -%}
    {%- endfor -%}
    {{ return(try_or_compiler_error(unreadable, load_agate_table)) }}
{%- endmacro %}


{# What the data tests of a seed demand. They are read here too, because a test that fails names neither file nor line,
   and runs when the old table has gone. #}
{% macro rules_of_seed() -%}
    {%- set rules = {'required': [], 'keys': [], 'allowed': {}} -%}
    {%- for test in graph.nodes.values()
        if test.resource_type == 'test' and test.attached_node == model.unique_id -%}
        {%- set named = test.test_metadata.kwargs -%}
        {%- if test.test_metadata.name == 'not_null' -%}
            {%- do rules.required.append(named.column_name) -%}
        {%- elif test.test_metadata.name == 'unique' -%}
            {%- do rules['keys'].append([named.column_name]) -%}
        {%- elif test.test_metadata.name == 'unique_combination' -%}
            {%- do rules['keys'].append(named.columns) -%}
        {%- elif test.test_metadata.name == 'accepted_values' -%}
            {%- do rules.allowed.update({named.column_name: named['values']}) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(rules) }}
{%- endmacro %}


{% macro check_header(file, names, rules) -%}
    {%- if names | length == 1 and modules.re.search('[;\t|]', names[0]) -%}
        {{ exceptions.raise_compiler_error(
            file ~ ", line 1: the names are not separated by commas; save the file as CSV with commas"
        ) }}
    {%- endif -%}
    {%- for name in rules.required | reject('in', names) -%}
        {{ exceptions.raise_compiler_error(
            file ~ ", line 1: the column " ~ name ~ " is missing; the columns are " ~ model.columns.keys() | join(', ')
        ) }}
    {%- endfor -%}
    {%- for name in names | reject('in', model.columns) -%}
        {%- do exceptions.warn(
            file ~ ", line 1: nothing reads the column " ~ name ~ "; the columns are " ~ model.columns.keys() | join(', ')
        ) -%}
    {%- endfor -%}
{%- endmacro %}


{% macro checked_value(file, line, name, type, text, rules) -%}
    {%- set place = file ~ ", line " ~ line ~ ": " ~ name ~ " is '" ~ text ~ "'" -%}
    {%- set allowed = rules.allowed.get(name) -%}
    {%- set pattern = model.columns.get(name, {}).get('config', {}).get('meta', {}).get('pattern') -%}
    {%- if type == 'bigint' and not modules.re.fullmatch('-?[0-9]{1,18}([.]0*)?', text) -%}
        {{ exceptions.raise_compiler_error(place ~ "; write a whole number") }}
    {%- elif allowed and text not in allowed -%}
        {{ exceptions.raise_compiler_error(place ~ "; write " ~ allowed[:-1] | join(', ') ~ " or " ~ allowed[-1]) }}
    {%- elif pattern and not modules.re.fullmatch(pattern, text) -%}
        {{ exceptions.raise_compiler_error(place ~ "; write " ~ model.columns[name].config.meta.written_as) }}
    {%- endif -%}
    {{ return(text.split('.')[0] | int if type == 'bigint' else text) }}
{%- endmacro %}


{% macro check_row(file, line, row, rules, lines_of_keys) -%}
    {%- for name in rules.required if row[name] is none -%}
        {{ exceptions.raise_compiler_error(
            file ~ ", line " ~ line ~ ": " ~ name ~ " is empty; write it, or remove the line"
        ) }}
    {%- endfor -%}
    {%- for columns in rules['keys'] -%}
        {%- set values = [] -%}
        {%- for name in columns -%}
            {%- do values.append(row.get(name)) -%}
        {%- endfor -%}
        {%- set key = (columns + values) | map('string') | join('\n') -%}
        {# as in the data tests: nulls are equal in a combination, and no repetition in a single column #}
        {%- if key in lines_of_keys and (columns | length > 1 or values[0] is not none) -%}
            {{ exceptions.raise_compiler_error(
                file ~ ", line " ~ line ~ " has the " ~ columns | join(', ') ~ " of line " ~ lines_of_keys[key]
                ~ "; remove one of them"
            ) }}
        {%- endif -%}
        {%- do lines_of_keys.update({key: line}) -%}
    {%- endfor -%}
{%- endmacro %}


{# What dbt's reader of CSV refuses without saying which line. Snowflake cannot read a local file, so there the message
   of table_of_texts() has to do. #}
{% macro snowflake__stop_at_broken_line(file) -%}
{%- endmacro %}

{# Lines are counted only in a file whose quotes end on the line that they begin on. #}
{% macro duckdb__stop_at_broken_line(file) -%}
    {%- set query -%}
        with

        files as (

            select string_split(regexp_replace(hex(content), '(..)', '\1 ', 'g'), '0A ') as lines
            from read_blob({{ dbt.string_literal(dbt.escape_single_quotes(adapter.get_seed_file_path(model))) }})

        ),

        lines as (

            select
                generate_subscripts(lines, 1) as line,
                unnest(lines) as bytes
            from files

        ),

        decoded as (

            select
                line,
                try(decode(unhex(replace(bytes, ' ', '')))) as text
            from lines

        ),

        counted as (

            select
                line,
                text is null as is_undecodable,
                text not like '%,%' and text like '%;%' as has_semicolons,
                len(string_split(regexp_replace(text, '"[^"]*"', '', 'g'), ',')) as value_count,
                bool_or(coalesce(len(string_split(text, '"')) % 2 = 0, false)) over () as has_open_quote
            from decoded

        ),

        compared as (

            select
                line,
                is_undecodable,
                value_count,
                has_open_quote,
                first_value(value_count) over (order by line) as name_count,
                first_value(has_semicolons) over (order by line) as has_semicolons
            from counted

        )

        select
            line,
            is_undecodable,
            has_semicolons,
            value_count,
            name_count
        from compared
        where is_undecodable or (value_count > name_count and not has_open_quote)
        order by line
        limit 1
    {%- endset -%}
    {%- for broken in run_query(query).rows -%}
        {%- set place = file ~ ", line " ~ broken['line'] -%}
        {%- if broken['is_undecodable'] -%}
            {{ exceptions.raise_compiler_error(place ~ " is not UTF-8; save the file as CSV in UTF-8") }}
        {%- elif broken['has_semicolons'] -%}
            {{ exceptions.raise_compiler_error(
                file ~ ", line 1: the names are not separated by commas; save the file as CSV with commas"
            ) }}
        {%- endif -%}
        {{ exceptions.raise_compiler_error(
            place ~ " has " ~ broken['value_count'] ~ " values for " ~ broken['name_count']
            ~ ' columns; put a value that holds a comma between "'
        ) }}
    {%- endfor -%}
{%- endmacro %}
