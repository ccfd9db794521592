{# The rows of a seed's file, checked: the names of the columns, their types, the rows as lists of values, and the table
   as dbt read it. Values are trimmed, empty ones are null, lines without values are left out, and a column that the file
   lacks is null. What a column may hold is what its data tests, its data_type and its meta in _seeds.yml say. #}
{% macro checked_seed() -%}
    {%- set file = model.original_file_path -%}
    {%- do stop_at_broken_line(file) -%}
    {%- set table = table_of_texts() -%}
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
{% macro table_of_texts() -%}
    {%- for name in load_agate_table().column_names -%}
        {%- do config.model.config.column_types.update({name: 'varchar'}) -%}
    {%- endfor -%}
    {{ return(load_agate_table()) }}
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
    {%- for name in row if row[name] is not none -%}
        {%- set only_where = model.columns.get(name, {}).get('config', {}).get('meta', {}).get('only_where') -%}
        {%- if only_where and row[only_where[0]] != only_where[1] -%}
            {{ exceptions.raise_compiler_error(
                file ~ ", line " ~ line ~ ": " ~ name ~ " is '" ~ row[name] ~ "' and " ~ only_where[0] ~ " is '"
                ~ row[only_where[0]] ~ "'; only " ~ only_where[1] ~ " has one: leave it empty"
            ) }}
        {%- endif -%}
    {%- endfor -%}
    {%- do check_same(file, line, row, lines_of_keys) -%}
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


{# A column that says one thing of all rows with one value of another column; empty says nothing. #}
{% macro check_same(file, line, row, lines_of_keys) -%}
    {%- for name in row if row[name] is not none -%}
        {%- set same_for = model.columns.get(name, {}).get('config', {}).get('meta', {}).get('same_for') -%}
        {%- if same_for and row.get(same_for) is not none -%}
            {%- set first = lines_of_keys.setdefault((name, row[same_for]), {'line': line, 'value': row[name]}) -%}
            {%- if first.value != row[name] -%}
                {{ exceptions.raise_compiler_error(
                    file ~ ", line " ~ line ~ ": " ~ name ~ " is '" ~ row[name] ~ "' and in line " ~ first.line ~ " '"
                    ~ first.value ~ "', with the same " ~ same_for ~ " " ~ row[same_for] ~ "; write one of them in both"
                ) }}
            {%- endif -%}
        {%- endif -%}
    {%- endfor -%}
{%- endmacro %}


{# What dbt's reader of CSV refuses without naming the line, or reads as one value to the end of the file. #}
{% macro stop_at_broken_line(file) -%}
    {%- set lines = lines_of_bytes(file) -%}
    {%- if not lines or not lines[0] | trim -%}
        {{ exceptions.raise_compiler_error(
            file ~ ", line 1: the names of the columns are missing; they are " ~ model.columns.keys() | join(', ')
        ) }}
    {%- endif -%}
    {%- for line in lines -%}
        {%- if line.encode('latin-1').decode('utf-8', 'ignore').encode().decode('latin-1') != line -%}
            {{ exceptions.raise_compiler_error(
                file ~ ", line " ~ loop.index ~ " is not UTF-8; save the file as CSV in UTF-8"
            ) }}
        {%- endif -%}
    {%- endfor -%}
    {%- set text = lines | join('\n') ~ '\n' -%}
    {#- a quote counts where a value begins -#}
    {%- set value = '(?:[^",\n][^,\n]*|"[^"]*(?:""[^"]*)*"[ \t]*|)' -%}
    {%- set row = value ~ '(?:,' ~ value ~ ')*\n' -%}
    {%- set names = modules.re.match(row, text) -%}
    {%- set name_count = count_of_values(names, value) -%}
    {%- if name_count == 1 and modules.re.search('[;\t|]', names.group()) -%}
        {{ exceptions.raise_compiler_error(
            file ~ ", line 1: the names are not separated by commas; save the file as CSV with commas"
        ) }}
    {%- endif -%}
    {%- set sound_rows = '(?:%s(?:,%s){0,%d}\n)*' % (value, value, name_count - 1) -%}
    {%- set sound = modules.re.match(sound_rows, text).group() if names else '' -%}
    {%- if sound != text -%}
        {%- set place = file ~ ", line " ~ (sound.count('\n') + 1) -%}
        {%- set broken = modules.re.match(row, text.removeprefix(sound)) -%}
        {%- if broken -%}
            {{ exceptions.raise_compiler_error(
                place ~ " has " ~ count_of_values(broken, value) ~ " values for " ~ name_count
                ~ ' columns; put a value that holds a comma between "'
            ) }}
        {%- endif -%}
        {{ exceptions.raise_compiler_error(
            place ~ ' has a value that begins with " and does not end with one; close it, and write a " in it as ""'
        ) }}
    {%- endif -%}
{%- endmacro %}


{% macro count_of_values(row, value) -%}
    {{ return(modules.re.findall('(?:^|,)' ~ value, row.group()) | length if row else 0) }}
{%- endmacro %}


{# The lines of a seed's file, each byte as a character. dbt has no function that reads a file on every engine, and its
   reader of seeds stops at a byte that is not UTF-8 and at a value too many. The class of dbt's tables, of which a result
   that is stored without a table is one, has a reader that takes a whole line for a value if no delimiter occurs. The
   place is that of dbt's reader: the root_path of a seed is where the project was when dbt parsed it. #}
{% macro lines_of_bytes(file) -%}
    {%- do store_result('no_rows', response='OK') -%}
    {%- set table = try_or_compiler_error(
        file ~ " cannot be read: grant the right to read it, and write no line of more than 131,072 bytes",
        load_result('no_rows').table.from_csv,
        invocation_args_dict.project_dir ~ '/' ~ file,
        column_names=['line'],
        header=false,
        encoding='latin-1',
        delimiter='\u2028',
        quoting=3
    ) -%}
    {%- set lines = [] -%}
    {%- for row in table.rows -%}
        {%- do lines.append((row[0] or '') | string) -%}
    {%- endfor -%}
    {%- if lines -%}
        {%- do lines.insert(0, lines.pop(0).removeprefix('\u00ef\u00bb\u00bf')) -%}
    {%- endif -%}
    {{ return(lines) }}
{%- endmacro %}
