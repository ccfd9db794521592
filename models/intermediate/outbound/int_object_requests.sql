{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    cluster_by=['happened_date'],
    meta={'touched': [{
        'model': 'int_touched_pipeline_calls',
        'on': {'message_id': 'message_id', 'happened_date': 'happened_date'},
    }]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}{% endif %}

with

calls as (

    {{ calls_of(['create_or_update_object', 'delete_object', 'delete_relationship']) }}

),

read as (

    select
        {{ call_columns() }},
        user_id,
        anonymous_id,
        traits,
        case
            when action = 'create_or_update_object' then group_id
            else {{ json_name('properties', 'objectId') }}
        end as object_id,
        coalesce(
            case when action = 'create_or_update_object' then {{ json_name('traits', 'object_type_id') }} end,
            case when action = 'create_or_update_object' then {{ json_name('traits', 'objectTypeId') }} end,
            {{ json_name('properties', 'object_type_id') }},
            {{ json_name('properties', 'objectTypeId') }},
            '1'
        ) as object_type_id,
        case when action = 'delete_relationship' then {{ json_name('properties', 'email') }} end as email,
        {{ json_value('traits', 'objectAttributes') }} as object_attributes,
        {{ json_value('traits', 'relationshipAttributes') }} as relationship_attributes
    from calls

),

identified as (

    select
        {{ call_columns() }},
        user_id,
        anonymous_id,
        traits,
        object_id,
        object_type_id,
        object_attributes,
        relationship_attributes,
        case
            when action = 'delete_object' then null
            when user_id is not null then {{ identifier_type('user_id') }}
            when email is not null then 'email'
            when action = 'create_or_update_object' and anonymous_id is not null then 'anonymous_id'
        end as person_id_type,
        case
            when action = 'delete_object' then null
            when action = 'create_or_update_object' then coalesce(user_id, anonymous_id)
            else coalesce(user_id, email)
        end as person_id,
        coalesce(
            {{ person_identifier('user_id') }},
            case when email is not null then {{ json_object([['email', json_text('email')]]) }} end,
            {{ json_object([['anonymous_id', json_text('anonymous_id')]]) }}
        ) as identifiers
    from read

),

parts as (
    {% for text, precedence, part, condition in [
        ['traits', 1, 'attributes', "action = 'create_or_update_object'"],
        ['object_attributes', 2, 'attributes', "action = 'create_or_update_object' and left(object_attributes, 1) = '{'"],
        [json_object([['anonymous_id', json_text('anonymous_id')]]), 3, 'attributes', "action != 'delete_object'"],
        ['relationship_attributes', 1, 'relationship', "action = 'create_or_update_object' and left(relationship_attributes, 1) = '{'"],
    ] %}
    select
        request_id,
        '{{ part }}' as part,
        {{ precedence }} as precedence,
        {{ text }} as json_text
    from identified
    where {{ condition }}
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

{{ attributes_of('parts', ignored={
    'attributes': ['object_type_id', 'objectTypeId', 'objectAttributes', 'relationshipAttributes'],
}) }},

{{ requests_with_attributes(
    json_object([
        ['type', "'\"object\"'"],
        ['action', "case"
            ~ " when action = 'delete_object' then '\"delete\"'"
            ~ " when action = 'delete_relationship' then '\"delete_relationships\"'"
            ~ " when person_id_type = 'anonymous_id' then '\"identify_anonymous\"' else '\"identify\"' end"],
        ['identifiers', object_identifiers('object_type_id', 'object_id')],
        ['attributes', "case when action = 'create_or_update_object' then coalesce(own.members, '{}') else own.members end"],
        ['cio_relationships', 'case when person_id is not null then ' ~ relationship_to('identifiers') ~ ' end'],
    ]),
    columns=['object_id'],
    conditions=[
        ['missing_object_id', 'object_id is null'],
        ['no_identifier', "action = 'delete_relationship' and person_id is null"],
    ],
    ids=['person_id', 'object_id'],
) }}

select * from final
