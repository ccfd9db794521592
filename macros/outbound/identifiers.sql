{# What identifies a person, as JSON text of an object with one member: a userId that begins with cio_ is
   Customer.io's own id, one that is an address is an email, anything else is an id. Null stays null. #}
{% macro person_identifier(text) -%}
    '{"' || {{ identifier_type(text) }} || '":'
    || {{ json_text('case when left(' ~ text ~ ", 4) = 'cio_' and length(" ~ text ~ ') > 4 then substr(' ~ text ~ ', 5) else ' ~ text ~ ' end') }} || '}'
{%- endmacro %}

{% macro identifier_type(text) -%}
    {#- the pattern stands within quotes, so one that is part of it is doubled -#}
    {%- set atom = "[A-Za-z0-9!#$%&''*+/=?^_`{|}~-]+" -%}
    {%- set label = '[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?' -%}
    case
        when left({{ text }}, 4) = 'cio_' and length({{ text }}) > 4 then 'cio_id'
        when {{ matches_all_of(text, atom ~ '([.]' ~ atom ~ ')*@' ~ label ~ '([.]' ~ label ~ ')+') }} then 'email'
        else 'id'
    end
{%- endmacro %}

{# A text that names somebody or something, as it is; one of spaces alone names nobody. #}
{% macro unless_blank(text) -%}
    case when {{ without_spaces(text) }} != '' then {{ text }} end
{%- endmacro %}


{# Whether an id of a source call is that of somebody whom `copymart forget` took away. #}
{% macro is_pseudonym(text) -%}
    (
            left(coalesce({{ text }}, ''), 10) = 'forgotten:'
            or left(coalesce({{ text }}, ''), 14) = 'cio_forgotten:'
        )
{%- endmacro %}


{# Whether a JSON value, given as JSON and as its text, names somebody or something: a string or a number, and no spaces
   alone. #}
{% macro is_name(json, text) -%}
    left({{ json }}, 1) not in ('{', '[', 't', 'f', 'n') and {{ without_spaces(text) }} != ''
{%- endmacro %}


{# A member of a JSON object, given as text, that names somebody or something, else null. Landing rejects a call whose
   own ids are neither text nor a number; here a sender's false would be one person for all who have none. The number
   15.0 is 15, as landing has it of a call's own ids. #}
{% macro json_name(json_text, key) -%}
    {%- set json = json_value(json_text, key) -%}
    {%- set text = json_member(json_text, key) -%}
    case
            when {{ is_name(json, text) }}
                then case
                    when left({{ json }}, 1) = '"' then {{ text }}
                    else coalesce(cast({{ text_to_bigint(text) }} as {{ dbt.type_string() }}), {{ text }})
                end
        end
{%- endmacro %}


{# What identifies an object. #}
{% macro object_identifiers(type, id) -%}
    {{ json_object([['object_type_id', json_text(type)], ['object_id', json_text(id)]]) }}
{%- endmacro %}


{# The id by which Customer.io ignores a repeated event: a ULID. A messageId that is one stays; for any other it is made
   of the time of the call and 80 bits of the SHA-256 of messageId (`message_hash`), so that the same call always has the
   same. With MetaRouter's mapping the messageId is sent as it is. #}
{% macro event_id(message_id, millis, message_hash) -%}
    {%- if is_metarouter() -%}
    {{ message_id }}
    {%- else -%}
    case
        when {{ matches_all_of(message_id, '[0-7][0-9A-HJKMNP-TV-Z]{25}') }} then {{ message_id }}
        else {{ ulid(millis, message_hash) }}
    end
    {%- endif -%}
{%- endmacro %}

{# A ULID in Crockford's base 32: 48 bits of milliseconds, and 80 bits, given in hexadecimal digits. A division of whole
   numbers has six decimal places on Snowflake and is rounded to them, so nothing is left of what is divided by a large
   number. #}
{% macro ulid(millis, digits) -%}
    {%- set letters = "'0123456789ABCDEFGHJKMNPQRSTVWXYZ'" -%}
    {%- set places = [] -%}
    {%- for power in range(9, -1, -1) -%}
        {%- set rest = 'mod(' ~ millis ~ ', ' ~ 32 ** (power + 1) ~ ') - mod(' ~ millis ~ ', ' ~ 32 ** power ~ ')' -%}
        {%- do places.append(
            'substr(' ~ letters ~ ', cast((' ~ rest ~ ') / ' ~ 32 ** power ~ ' as integer) + 1, 1)'
        ) -%}
    {%- endfor -%}
    {#- five bits lie within two digits of four -#}
    {%- for place in range(16) -%}
        {%- set first = place * 5 // 4 -%}
        {%- set shift = 2 ** (3 - place * 5 % 4) -%}
        {%- set eight = '16 * ' ~ hex_digit(digits, first + 1) ~ ' + ' ~ hex_digit(digits, first + 2) -%}
        {%- do places.append(
            'substr(' ~ letters ~ ', cast(mod(floor((' ~ eight ~ ') / ' ~ shift ~ '), 32) as integer) + 1, 1)'
        ) -%}
    {%- endfor -%}
    {{ places | join('\n            || ') }}
{%- endmacro %}

{% macro hex_digit(digits, place) -%}
    ({{ place_of('substr(' ~ digits ~ ', ' ~ place ~ ', 1)', "'0123456789abcdef'") }} - 1)
{%- endmacro %}


{# Milliseconds as the unix seconds that Customer.io takes, a whole number in JSON. #}
{% macro unix_text(millis) -%}
    cast(cast(floor({{ millis }} / 1000) as {{ dbt.type_bigint() }}) as {{ dbt.type_string() }})
{%- endmacro %}


{# The identifier of int_person_ids that a request names; null for an anonymous visitor, who is nobody yet. #}
{% macro person_of_request(type, text) -%}
    case {{ type }}
        when 'id' then {{ identifier_of('customer_id', text) }}
        when 'cio_id' then {{ identifier_of('cio_id', 'substr(' ~ text ~ ', 5)') }}
        when 'email' then {{ identifier_of('email', plain_email(text)) }}
    end
{%- endmacro %}


{# Whether events are made by MetaRouter's mapping. A misspelt name stops; 1 is what the linter has for a var. #}
{% macro is_metarouter() -%}
    {%- if execute and var('event_mapping') not in ('journeys', 'metarouter', 1) -%}
        {{ exceptions.raise_compiler_error(
            "the var event_mapping is '" ~ var('event_mapping') ~ "': write journeys or metarouter (dbt_project.yml)"
        ) }}
    {%- endif -%}
    {{ return(var('event_mapping') == 'metarouter') }}
{%- endmacro %}
