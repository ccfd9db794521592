{# A view for each type of activity that has landed, activity_<type>, beside the view of all. dbt has no models whose
   number depends on data, so the post-hook of that view makes those that are not there yet; a full refresh makes all
   again. #}
{% macro make_activity_views() -%}
    {%- if execute and flags.WHICH in ('build', 'run') and not flags.EMPTY -%}
        {%- set kinds = {} -%}
        {%- set found = run_query('select distinct activity_type from ' ~ this ~ " where activity_type != ''") -%}
        {%- for row in found.rows if modules.re.fullmatch('[A-Za-z0-9_:. -]+', row[0]) -%}
            {%- set name = modules.re.sub('[^a-z0-9]+', '_', row[0] | lower) -%}
            {%- do kinds.setdefault('activity_' ~ name, []).append(row[0]) -%}
        {%- endfor -%}
        {%- for name, types in kinds.items() | sort -%}
            {%- if flags.FULL_REFRESH or adapter.get_relation(this.database, this.schema, name) is none -%}
                {%- set relation = api.Relation.create(this.database, this.schema, name) -%}
                {%- do run_query(activity_view(relation, types | sort)) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}


{# Activities about messages say whether those were delivered and opened. #}
{% macro activity_view(relation, types) -%}
    {%- set of_people = ['event', 'page', 'screen', 'attribute_change', 'failed_attribute_change', 'device_change'] -%}
    {%- set about_messages = types[0] not in of_people -%}
    create or replace view {{ relation }} as
    select
        activity_id,
        activity_type,
        occurred_at,
        user_id,
        cio_id,
        email,
        name,
        url,
        {%- if about_messages %}
        delivery_id,
        delivery_type,
        is_delivered,
        is_opened,
        {%- endif %}
        data,
        extracted_at
    from {{ this }}
    where activity_type in ({{ quoted_list(types) }})
{%- endmacro %}
